"""Issuing with worker processes: the same rows, and nothing half-recorded or left behind whoever dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import make_url

from credential_pipeline.credential.keys import Ed25519FileSigner, Signer, generate_ed25519
from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import ProofError, verify_proof
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.progress import EVERY_SECONDS, Progress
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.worker_processes import WorkerEnded, Workers
from credential_pipeline_tests.issue.desk import AS_OF, Desk, institution, passed
from credential_pipeline_tests.issue.test_apply import FaultySigner
from credential_pipeline_tests.test_worker_processes import gone, wait_until

NewDesk = Callable[..., Desk]
LINES = 16
CHUNK = 4
SMALL = 2
"""Lines of a chunk where work has to be left for each worker when some is recorded."""
ROWS = [passed(f"U{n}", ("knots", "safety")[n % 2], score=str(50 + n)) for n in range(LINES)]
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as two:
        yield two


def planned(desk: Desk) -> UUID:
    desk.offer(ROWS)
    return desk.planned()


def recorded(desk: Desk) -> list[list[tuple[Any, ...]]]:
    """Every row that applying a plan writes; dictionaries are compared by what documents become with them."""
    return [
        sorted(desk.documents().items()),
        *(
            desk.rows(f"select {columns} from {table} order by {columns}")
            for table, columns in {
                "ledger.credential": "credential_id, award_id, cause, public_id, id_secret_version, "
                "salt_secret_version, person_id, achievement, plan_id, ordinal, key_id, list_number, status_index, "
                "as_of, awarded_on, valid_until, document, document_form, document_sha256, run_id",
                "ledger.credential_state": "credential_id, state, version, superseded_by, reason",
                "ledger.event": "credential_id, seq, kind, actor, reason, run_id",
                "outbox.message": "message_id, kind, credential_id, person_id, occasion, sent_at",
                "ledger.plan_line": "plan_id, ordinal, state, run_id",
                "ledger.plan": "plan_id, state",
            }.items()
        ),
    ]


def test_two_workers_record_what_one_process_does(new_desk: NewDesk, workers: Workers) -> None:
    alone, beside = new_desk(), new_desk()
    assert alone.apply(planned(alone), chunk=CHUNK).issued == LINES
    assert beside.apply(planned(beside), chunk=CHUNK, workers=workers).issued == LINES
    assert len(workers.pids) == 2
    assert recorded(beside) == recorded(alone)


def test_a_plan_of_few_lines_starts_no_process(desk: Desk, workers: Workers) -> None:
    assert desk.apply(planned(desk), chunk=LINES // 2, workers=workers).issued == LINES
    assert workers.pids == []


def test_a_key_that_no_other_process_can_open_signs_in_this_one(desk: Desk, workers: Workers) -> None:
    signer = FaultySigner(desk.signer(AS_OF), fault_at=0)
    done = desk.apply(planned(desk), chunk=CHUNK, workers=workers, signer_at=lambda _: signer)
    assert (done.issued, signer.signed) == (LINES, 2 * LINES)
    assert workers.pids == []


def test_a_line_that_went_stale_after_it_was_read_ahead_is_held_alone(desk: Desk, workers: Workers) -> None:
    plan = planned(desk)
    calls: list[int] = []

    def changes_the_last_row_at_the_second_chunk(as_of: datetime) -> Signer:
        calls.append(1)
        if len(calls) == 3:  # the first asks whether the key can be opened elsewhere
            desk.regate(f"U{LINES - 1}", "safety", score="99")
            desk.regate("U0", "knots", score="99")
        return desk.signer(as_of)

    done = desk.apply(plan, chunk=CHUNK, workers=workers, signer_at=changes_the_last_row_at_the_second_chunk)
    assert done == ApplyResult(LINES - 2, 2)
    assert len(desk.documents()) == desk.count("ledger.credential_state") == desk.count("outbox.message") == LINES - 2
    assert sorted(state for _, state, _, _ in desk.lines()) == ["applied"] * (LINES - 2) + ["held"] * 2


def test_a_key_that_changes_meanwhile_signs_what_was_not_recorded(desk: Desk, workers: Workers) -> None:
    plan = planned(desk)
    other = Ed25519FileSigner(generate_ed25519(), f"{desk.institution.issuer_did}#key-1")

    def another_once_something_is_recorded(as_of: datetime) -> Signer:
        return other if desk.count("ledger.credential") else desk.signer(as_of)

    assert desk.apply(plan, chunk=CHUNK, workers=workers, signer_at=another_once_something_is_recorded).issued == LINES
    keys = {
        name: decode_ed25519_public(s.public_key_multibase)
        for name, s in (("first", desk.signer(AS_OF)), ("other", other))
    }
    by = Counter(name for document in desk.credentials() for name, key in keys.items() if holds(document, key))
    assert by == {"first": CHUNK, "other": LINES - CHUNK}


def holds(document: dict[str, Any], key: bytes) -> bool:
    """Whether the jcs proof was made with this key."""
    try:
        verify_proof(document, document["proof"][1], key)
    except ProofError:
        return False
    return True


def test_a_worker_killed_in_the_middle_leaves_whole_chunks_and_the_next_call_does_the_rest(
    new_desk: NewDesk, workers: Workers
) -> None:
    alone, desk = new_desk(), new_desk()
    alone.apply(planned(alone), chunk=SMALL)
    plan = planned(desk)
    killed: list[int] = []

    def kills_one_when_two_chunks_are_recorded(as_of: datetime) -> Signer:
        if desk.count("ledger.credential") == 2 * SMALL and not killed:
            killed.append(workers.pids[0])
            os.kill(killed[0], signal.SIGKILL)
        return desk.signer(as_of)

    with pytest.raises(WorkerEnded, match="was ended by signal 9"):
        desk.apply(plan, chunk=SMALL, workers=workers, signer_at=kills_one_when_two_chunks_are_recorded)
    assert workers.pids == []
    done = desk.count("ledger.credential")
    assert 2 * SMALL <= done < LINES
    assert done % SMALL == 0
    assert desk.apply(plan, chunk=SMALL, workers=workers).issued == LINES - done
    assert recorded(desk) == recorded(alone)


def main() -> None:
    """What the process does that the next test ends: apply a plan, with two workers."""
    url, secrets, plan = sys.argv[1:]
    desk = Desk(open_engine(url), institution(), SecretsDirectory(Path(secrets), b"a passphrase of tests"))
    with Workers(2) as two:
        desk.apply(UUID(plan), chunk=CHUNK, workers=two)


@contextmanager
def applying(desk: Desk, plan: UUID) -> Iterator[subprocess.Popen[bytes]]:
    url = desk.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-m", __name__, url, str(desk.secrets.path), str(plan)], cwd=REPOSITORY, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_parent_that_is_ended_in_the_middle_leaves_whole_chunks_and_no_process(
    new_desk: NewDesk, server_url: str, how: signal.Signals
) -> None:
    desk = new_desk()
    plan = planned(desk)
    superuser = make_url(server_url).set(database=desk.engine.url.database).render_as_string(hide_password=False)
    with closing(psycopg.connect(superuser)) as holder, closing(psycopg.connect(superuser, autocommit=True)) as watcher:
        # The third chunk cannot be marked: two are committed, and the workers are on the next ones.
        holder.execute("select from ledger.plan_line where ordinal = %s for no key update", [2 * CHUNK + 1])
        me, waiting = holder.info.backend_pid, "select from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
        with applying(desk, plan) as process:
            wait_until(lambda: watcher.execute(waiting, [me]).rowcount > 0 or process.poll() is not None)
            workers = children(process.pid)
            assert len(workers) == 2, process.communicate()
            process.send_signal(how)
            assert process.wait(60) == -how, process.communicate()
        wait_until(lambda: all(gone(pid) for pid in workers))
    assert desk.count("ledger.credential") == desk.count("outbox.message") == 2 * CHUNK
    assert desk.apply(plan, chunk=CHUNK).issued == LINES - 2 * CHUNK
    assert desk.count("ledger.event") == LINES


def test_progress_tells_done_rate_and_what_is_left_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    caplog.set_level(logging.INFO)
    progress = Progress("issued {} credentials", 20_000, clock=lambda: now[0])
    for _ in range(4):
        now[0] += EVERY_SECONDS / 2
        progress.add(4000)
    now[0] += EVERY_SECONDS / 2
    progress.add(3000)
    progress.end()
    progress.end()
    assert caplog.messages == [
        "issued 8,000 of 20,000 credentials, 4,000 a second, 0:00:03 to go",
        "issued 16,000 of 20,000 credentials, 4,000 a second, 0:00:01 to go",
        "issued 19,000 of 20,000 credentials, 3,800 a second, 0:00:00 to go",
    ]


if __name__ == "__main__":
    main()

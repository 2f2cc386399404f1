"""What recording costs: an approved plan is applied in a database of its own, as every run does it.

Belongs here: seconds, and the memory of our processes and of the server's. Does not belong here: limits to pass, and
rates of signing alone (proofs.py). Only applying is timed: what the plan cites was put there before.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from credential_pipeline.bench.approved_plan import AS_OF, KEY_START, make_approved_plan, training_house
from credential_pipeline.errors import Terminal
from credential_pipeline.issue.apply import CHUNK, apply_plan
from credential_pipeline.settings import cores
from credential_pipeline.store import embedded
from credential_pipeline.store.postgres import migrate, open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key, signer_at
from credential_pipeline.worker_processes import Workers

VERIFIED = 500
"""Credentials that `verify: all` is measured on: a million of them would take an hour."""
RUN = "bench"


def measure_store(count: int, *, tell: Callable[[str], None], workers: int | None = None) -> dict[str, Any]:
    """Sign with both proofs, check, compress and record `count` credentials; by default with a worker a core.

    Returns:
        million_seconds: wall seconds for the `count` credentials that were really made, from the first line to the
            last commit; million_peak_rss_mb: the peaks of all our processes, added up; store_*: what else is told.

    Raises:
        Terminal: no database could be started.
    """
    processes = workers or cores()
    found = _applied(count, "sample", processes, tell)
    few = min(VERIFIED, count)
    tell(f"verifying all of {few:,}, by two implementations each")
    every = _applied(few, "all", processes, tell, chunk=max(1, few // (4 * processes)))
    return {
        "million_seconds": round(found["seconds"], 2),
        "million_peak_rss_mb": round(found["peak_mb"]),
        "store_credentials": count,
        "store_per_s": round(count / found["seconds"]),
        "store_workers": processes,
        "store_document_bytes": round(found["document_bytes"]),
        "store_server_peak_mb": round(found["server_mb"]),
        "store_database_bytes_each": round(found["database_bytes"] / count),
        "store_verify_all_credentials": few,
        "store_verify_all_seconds_scaled": round(every["seconds"] / few * count),
    }


def _applied(
    count: int, verify: str, processes: int, tell: Callable[[str], None], chunk: int = CHUNK
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-store-") as work:
        server = Path(work) / "postgres"
        try:
            running = embedded.ensure_running(server)
        except ImportError as error:
            raise Terminal("there is no PostgreSQL to measure with: install credential-pipeline[embedded]") from error
        owner, application, superuser = (
            open_engine(running.url(embedded.DATABASE, role))
            for role in (embedded.OWNER_ROLE, embedded.APPLICATION_ROLE, embedded.SUPERUSER)
        )
        try:
            migrate(owner, application_role=embedded.APPLICATION_ROLE)
            tell(f"making an approved plan of {count:,} lines (not timed)")
            secrets = SecretsDirectory(Path(work) / "secrets", b"bench")
            pid = (server / "data" / "postmaster.pid").read_text().split()[0]
            return applied(application, superuser, secrets, count, verify, processes, pid, chunk)
        finally:
            for engine in (owner, application, superuser):
                engine.dispose()
            embedded.stop(server, mode="immediate")


def applied(
    engine: Engine,
    superuser: Engine,
    secrets: SecretsDirectory,
    count: int,
    verify: str,
    processes: int,
    server: str,
    chunk: int,
) -> dict[str, float]:
    """Make an approved plan in an empty ledger and apply it; seconds, MB and bytes. `server`: the postmaster's pid."""
    institution = training_house(verify=verify)
    ensure_signing_key(engine, secrets, KEY_START)
    plan = make_approved_plan(superuser, institution, count)
    before = _scalar(superuser, "select pg_database_size(current_database())")
    with Workers(processes) as workers:
        started = time.monotonic()
        done = apply_plan(
            engine, institution, secrets, lambda at: signer_at(secrets, institution.issuer_did, at), plan, RUN,
            now=AS_OF, workers=workers, chunk=chunk,
        )  # fmt: skip
        seconds = time.monotonic() - started
        peak = sum(map(_peak_mb, ["self", *map(str, workers.pids)]))
    if done.issued != count or _scalar(superuser, "select count(*) from ledger.credential") != count:
        raise Terminal(f"{done.issued:,} of {count:,} credentials were recorded: this is a fault of the pipeline")
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "server_mb": sum(map(_own_mb, _family(server))),
        "document_bytes": float(_scalar(superuser, "select avg(octet_length(document)) from ledger.credential")),
        "database_bytes": float(_scalar(superuser, "select pg_database_size(current_database())") - before),
    }


def _scalar(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.scalar(text(query))


def _peak_mb(process: str) -> float:
    """The most memory that a process has had resident; 0 where the system does not say (macOS)."""
    return _kib(Path(f"/proc/{process}/status"), "VmHWM:") / 1024


def _own_mb(process: str) -> float:
    """A process's share of memory, what it shares with others counted once among them."""
    return _kib(Path(f"/proc/{process}/smaps_rollup"), "Pss:") / 1024


def _kib(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(name))


def _family(process: str) -> Iterable[str]:
    """A process and its children."""
    tasks = Path(f"/proc/{process}/task")
    yield process
    if tasks.is_dir():
        for task in tasks.iterdir():
            yield from (task / "children").read_text().split()

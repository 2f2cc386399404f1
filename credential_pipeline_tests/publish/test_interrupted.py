"""Killed in the middle, called at once, overtaken: the site ends up as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Engine

from credential_pipeline.credential.status_list import decode, is_set
from credential_pipeline.publish.manifest import Item, record
from credential_pipeline.store.objects import ObjectStore
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher

PUBLISH = """
import sys
from pathlib import Path
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.store.objects import open_store
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.publish import ledger
engine, college = open_engine(sys.argv[1]), ledger.institution()
publish(engine, college, open_store("site", Path(sys.argv[2])), "site", ledger.signer_of(college),
        recorded_keys(engine, college), ledger.AS_OF, "run-2", chunk=7)
"""


def test_an_object_without_its_row_is_found_in_place(publisher: Publisher, engine: Engine) -> None:
    first, second = ledger.issue(engine, publisher.college, 2)
    publisher.store.put_new(f"credentials/{first.public_id}.json", first.document)  # and then the run was killed
    result = publisher()
    assert (result.credentials, result.states) == (2, 2)
    assert result.written == len(publisher.files()) - 1
    assert f"credentials/{first.public_id}.json" in ledger.manifest(engine)
    assert ledger.events(engine) == {c.credential_id: ["issued", "published"] for c in (first, second)}


def test_killed_at_any_moment_and_run_again(
    publisher: Publisher, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    issued = ledger.issue(engine, publisher.college, 40)
    ledger.move(engine, issued[3].credential_id, "revoked")
    # Each run is killed as soon as some more files are there: in another place of its work each time.
    for files_more in (1, 4, 9, 20):
        before = _count(publisher.folder)
        command = [sys.executable, "-c", PUBLISH, database_url, str(tmp_path)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
            while process.poll() is None and _count(publisher.folder) < before + files_more:
                time.sleep(0.001)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
    publisher()

    files = publisher.files()
    for c in issued:
        assert files[f"credentials/{c.public_id}.json"] == c.document
        assert f"state/{c.public_id}.json" in files
    bits = decode(publisher.read("status/1.json")["credentialSubject"]["encodedList"])
    assert [c for c in issued if is_set(bits, c.status_index)] == [issued[3]]
    events = ledger.events(engine)
    assert events.pop(issued[3].credential_id) == ["issued", "revoked", "published"]
    assert set(map(tuple, events.values())) == {("issued", "published")}
    assert set(ledger.manifest(engine)) == {path for path in files if "#" not in path}
    assert publisher().written == 0


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.json"))


def test_publishers_at_once_write_each_object_once(
    publisher: Publisher, engine: Engine, other_engine: Callable[[], Engine]
) -> None:
    ledger.issue(engine, publisher.college, 12)
    engines = [other_engine() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda e: publisher(engine=e, chunk=2), engines))
    assert sum(r.written for r in results) == len(publisher.files())
    assert sorted(r.credentials for r in results) == [0, 0, 0, 0, 0, 12]
    assert set(map(tuple, ledger.events(engine).values())) == {("issued", "published")}


class _Gate(ObjectStore):
    """A store whose write of one object waits: a slow network, at a moment that a test chooses."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        super().__init__(store._store, store.name, parallel=1, attributes=False)
        self.path = path
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def put(self, path: str, data: bytes, attributes: Mapping[str, str] | None = None) -> None:
        if path == self.path:
            self.reached.set()
            assert self.go_on.wait(60)
        super().put(path, data, attributes)


def test_a_slow_old_list_never_lands_on_a_newer_one(
    publisher: Publisher, engine: Engine, other_engine: Callable[[], Engine]
) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    gate = _Gate(publisher.store, "status/1.json")
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(publisher, store=gate, engine=other_engine())
        assert gate.reached.wait(60)
        ledger.move(engine, c.credential_id, "revoked")
        fast = pool.submit(publisher, engine=other_engine())
        gate.go_on.set()
        assert slow.result().status_lists == 1
        assert fast.result().status_lists == 1
    bits = decode(publisher.read("status/1.json")["credentialSubject"]["encodedList"])
    assert is_set(bits, c.status_index)
    assert publisher.read(f"state/{c.public_id}.json")["version"] == 2
    assert ledger.manifest(engine)["status/1.json"][1] == 2


def test_two_targets_hand_out_versions_of_a_list_in_turn(
    publisher: Publisher, engine: Engine, other_engine: Callable[[], Engine]
) -> None:
    ledger.issue(engine, publisher.college, 1)
    gate = _Gate(publisher.store, "status/1.json")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(publisher, store=gate, engine=other_engine())
        assert gate.reached.wait(60)
        second = pool.submit(publisher, engine=other_engine(), target="other")
        gate.go_on.set()
        first.result()
        second.result()
    versions = {ledger.manifest(engine, target)["status/1.json"][1] for target in ("site", "other")}
    assert versions == {1, 2}
    assert set(map(tuple, ledger.events(engine).values())) == {("issued", "published")}


def test_the_manifest_never_goes_back_to_an_older_version(publisher: Publisher, engine: Engine) -> None:
    for version, data in ((2, b"new"), (1, b"old")):
        with engine.begin() as connection:
            record(connection, "site", [Item("status/1.json", "status_list", data, version)], "run")
    assert ledger.manifest(engine)["status/1.json"] == (Item("x", "x", b"new").digest, 2)

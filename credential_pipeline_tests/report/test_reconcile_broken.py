"""Every way to break the books, on a real home with signed documents: each is found, named with its place, exits 1.

What only the database's superuser or whoever can write to the target could do; the pipeline itself cannot.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from credential_pipeline.credential.status_list import decode, encode
from credential_pipeline.issue.states import Move, move
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import write_college
from credential_pipeline_tests.e2e.conftest import House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from credential_pipeline_tests.report.books import by_hand
from credential_pipeline_tests.terminal import Told, call


@dataclass(frozen=True)
class Books:
    """A college that has issued ten credentials and revoked one; `victim` is another."""

    house: House
    server_url: str
    victim: str
    public_id: str
    revoked: str

    @property
    def site(self) -> Path:
        return self.house.site

    def by_hand(self, statement: str) -> None:
        by_hand(self.server_url, str(self.house.settings.database_url), statement)

    def reconcile(self, *options: str) -> Told:
        settings = self.house.settings
        return call(
            "reconcile", "--json", *options, "--institution", str(settings.institution_dir),
            "--home", str(settings.home), DATABASE_URL=str(settings.database_url),
        )  # fmt: skip


@pytest.fixture(scope="module")
def balanced(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    directory = tmp_path_factory.mktemp("broken")
    write_college(directory / "college")
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house(directory / "college")
        house.stages()
        engine = open_engine(str(house.settings.database_url))
        with engine.begin() as connection:
            ids = connection.execute(text("select credential_id, public_id from ledger.credential order by 1")).all()
            move(connection, [Move(ids[0][0], "revoked", "a test")], actor="registrar", run_id="revoke")
        house.stages(run_id="publish")
        engine.dispose()
        yield Books(house, server_url, str(ids[5][0]), ids[5][1], str(ids[0][0]))


@pytest.fixture
def books(balanced: Books, tmp_path: Path) -> Iterator[Books]:
    """The same books for each test: the site is put back after it, each test puts its rows back itself."""
    shutil.copytree(balanced.site, tmp_path / "kept")
    yield balanced
    shutil.rmtree(balanced.site)
    shutil.copytree(tmp_path / "kept", balanced.site)


def differences(told: Told) -> dict[str, str]:
    """What was found, by term; the command said it in words too, and exited 1."""
    found = {d["term"]: d["where"] for d in told.result["differences"]}
    assert told.code == (1 if found else 0)
    assert all(where in told.stderr for where in found.values())
    return found


def test_they_balance(books: Books) -> None:
    assert differences(books.reconcile()) == {}
    assert differences(books.reconcile("--full")) == {}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_bit(books: Books) -> None:
    """A list that says of one more credential that it is revoked: as readable as the real one."""
    path = books.site / "status" / "1.json"
    document: dict[str, Any] = json.loads(path.read_bytes())
    bits = decode(document["credentialSubject"]["encodedList"])
    set_bits = {8 * n + k for n, byte in enumerate(bits) for k in range(8) if byte & (0x80 >> k)}
    spare = next(n for n in range(8 * len(bits)) if n not in set_bits)
    document["credentialSubject"]["encodedList"] = encode(8 * len(bits), {*set_bits, spare})
    path.write_text(json.dumps(document))


def orphan(books: Books) -> None:
    shutil.copy(books.site / "credentials" / f"{books.public_id}.json", books.site / "credentials" / f"{'a' * 26}.json")


# What somebody does to the target -> the terms it breaks, and what each difference names.
OBJECTS: dict[str, tuple[Callable[[Books], object], dict[str, str]]] = {
    "delete a credential": (
        lambda b: (b.site / "credentials" / f"{b.public_id}.json").unlink(),
        {"manifest = objects": "site: object credential of credential {victim}"},
    ),
    "delete a state": (
        lambda b: (b.site / "state" / f"{b.public_id}.json").unlink(),
        {"manifest = objects": "site: object state of credential {victim}"},
    ),
    "delete did.json": (
        lambda b: (b.site / ".well-known" / "did.json").unlink(),
        {"manifest = objects": "site: object .well-known/did.json"},
    ),
    "add an orphan": (orphan, {"objects = manifest": f"site: object credentials/{'a' * 26}.json"}),
    "flip a bit in a published credential": (
        lambda b: flip(b.site / "credentials" / f"{b.public_id}.json"),
        {"manifest = bytes of objects": "site: object credential of credential {victim}"},
    ),
    "flip a bit in a published state": (
        lambda b: flip(b.site / "state" / f"{b.public_id}.json"),
        {"manifest = bytes of objects": "site: object state of credential {victim}"},
    ),
    "set a bit in a status list": (
        another_bit,
        {"manifest = bytes of objects": "site: object status/1.json",
         "status bits = states": "site: status/1.json, 1 bits differ"},
    ),
    "delete a status list": (
        lambda b: (b.site / "status" / "1.json").unlink(),
        {"manifest = objects": "site: object status/1.json", "status bits = states": "site: object status/1.json"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", OBJECTS)
def test_an_object_that_is_not_what_it_was(books: Books, how: str) -> None:
    breaking, expected = OBJECTS[how]
    breaking(books)
    assert differences(books.reconcile()) == {t: w.format(victim=books.victim) for t, w in expected.items()}


# What a superuser does to the ledger, and how the test takes it back -> the terms it breaks.
ROWS = {
    "drop the first event": ("event", "credential_id = '{victim}' and seq = 1",
                             ["credentials = issued events"]),
    "drop the event of publication": ("event", "credential_id = '{victim}' and seq = 2",
                                      ["published documents = published events"]),
    "drop the last event": ("event", "credential_id = '{revoked}' and seq = 3", ["versions of states = events"]),
    "drop a message": ("message", "credential_id = '{victim}'", ["credentials = messages"]),
    "drop a state": ("credential_state", "credential_id = '{victim}'",
                     ["credentials = states"]),
    "drop a line of the manifest": ("publication", "credential_id = '{victim}' and kind = 'credential'",
                                    ["credentials = published documents", "objects = manifest"]),
    "drop the approval": ("approval", "true", ["credentials = approved"]),
}  # fmt: skip


@pytest.mark.parametrize("how", ROWS)
def test_a_row_that_is_gone(books: Books, how: str) -> None:
    table, where, terms = ROWS[how]
    named = where.format(victim=books.victim, revoked=books.revoked)
    schema = "outbox" if table == "message" else "ledger"
    books.by_hand(
        f"create table public.kept as select * from {schema}.{table} where {named};"
        f"delete from {schema}.{table} where {named}"
    )
    try:
        found = differences(books.reconcile())
    finally:
        books.by_hand(
            f"insert into {schema}.{table} overriding system value select * from public.kept; drop table public.kept"
        )
    assert list(found) == terms
    if "credential_id" in where:
        credential = books.revoked if "{revoked}" in where else books.victim
        assert all(credential in told or books.public_id in told for told in found.values())
    assert differences(books.reconcile()) == {}


def test_a_bit_of_a_stored_document(books: Books) -> None:
    flipping = (
        "update ledger.credential set document = set_byte(document, 100, get_byte(document, 100) # 1)"
        f" where credential_id = '{books.victim}'"
    )
    books.by_hand(flipping)
    try:
        found = differences(books.reconcile("--full"))
    finally:
        books.by_hand(flipping)  # flipped twice is what it was
    assert found == {"documents = their SHA-256": f"credential {books.victim}"}


def test_a_document_and_a_state_that_an_erasure_left_half_done(books: Books) -> None:
    books.by_hand(
        f"create table public.kept as select document from ledger.credential where credential_id = '{books.victim}';"
        f"update ledger.credential set document = null where credential_id = '{books.victim}'"
    )
    try:
        found = differences(books.reconcile())
    finally:
        books.by_hand(
            "update ledger.credential set document = (select document from public.kept)"
            f" where credential_id = '{books.victim}'; drop table public.kept"
        )
    assert list(found) == ["erased documents = withdrawn credentials", "erased credentials still published"]
    assert all(books.victim in where for where in found.values())

"""Key periods: a new key, a lost key, and what the ledger and the secrets directory know of each other's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.key_periods import declare_compromised, key_list, rotate_key
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key, key_at, signer_at

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=100)
DID = "did:web:keys.example"
PASSPHRASE = b"a passphrase of tests"
DETAIL = {"after": "key-1", "algorithm": "Ed25519", "kms_key": None}
SAID = {"actor": "registrar", "reason": "laptop stolen", "run_id": "run-1"}


@pytest.fixture
def secrets(tmp_path: Path) -> SecretsDirectory:
    return SecretsDirectory(tmp_path / "secrets", PASSPHRASE)


@pytest.fixture
def engine(new_database: Callable[[], str], secrets: SecretsDirectory) -> Iterator[Engine]:
    """A ledger that knows the directory's first key."""
    opened = open_engine(new_database())
    ensure_signing_key(opened, secrets, START)
    yield opened
    opened.dispose()


def recorded(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text("select key_id, valid_from, valid_until, compromised_at from ledger.signing_key order by 1")
            )
        ]


def actions(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text("select kind, subject, actor, reason, detail from ledger.action order by action_id")
            )
        ]


def test_a_new_key_signs_from_now_on_and_ends_the_period_of_the_one_before(
    engine: Engine, secrets: SecretsDirectory
) -> None:
    made = rotate_key(engine, secrets, LATER, **SAID)
    assert made.key_id == "key-2"
    assert recorded(engine) == [("key-1", START, LATER, None), ("key-2", LATER, None, None)]
    assert actions(engine) == [("key_rotated", "key:key-2", "registrar", "laptop stolen", DETAIL)]
    assert key_at(secrets, LATER - timedelta(seconds=1)).key_id == "key-1"
    assert key_at(secrets, LATER).key_id == "key-2"
    assert signer_at(secrets, DID, LATER).verification_method == f"{DID}#key-2"
    assert [(key.key_id, key.signs) for key in key_list(engine, secrets, LATER)] == [("key-1", False), ("key-2", True)]


def test_of_two_keys_of_one_second_the_later_one_signs(engine: Engine, secrets: SecretsDirectory) -> None:
    rotate_key(engine, secrets, LATER, **SAID)
    rotate_key(engine, secrets, LATER, **SAID)
    assert key_at(secrets, LATER).key_id == "key-3"
    assert [row[2] for row in recorded(engine)] == [LATER, LATER, None]


def test_a_key_cannot_start_before_the_newest_one(engine: Engine, secrets: SecretsDirectory) -> None:
    rotate_key(engine, secrets, LATER, **SAID)
    with pytest.raises(Terminal, match=r"key-2 starts at .*, later than a new key would start now"):
        rotate_key(engine, secrets, LATER - timedelta(days=1), **SAID)
    assert len(recorded(engine)) == 2


def test_a_compromised_key_signs_nothing_whatever_the_date_and_gets_a_successor(
    engine: Engine, secrets: SecretsDirectory
) -> None:
    came = declare_compromised(engine, secrets, "key-1", START + timedelta(days=50), LATER, **SAID)
    assert came.successor is not None
    assert came.successor.key_id == "key-2"
    assert recorded(engine) == [
        ("key-1", START, LATER, START + timedelta(days=50)), ("key-2", LATER, None, None),
    ]  # fmt: skip
    for as_of in (START, START + timedelta(days=49), LATER - timedelta(seconds=1)):
        with pytest.raises(Terminal, match=r"key-1, which signed at .*, is compromised: nothing is signed with it"):
            signer_at(secrets, DID, as_of)
    assert key_at(secrets, LATER).key_id == "key-2"
    assert [row[:2] for row in actions(engine)] == [("key_rotated", "key:key-2"), ("key_compromised", "key:key-1")]
    assert actions(engine)[1][4] == {
        "since": (START + timedelta(days=50)).isoformat(), "current_credentials": 0, "plans_set_aside": 0,
    }  # fmt: skip


def test_a_retired_key_that_is_lost_needs_no_successor(engine: Engine, secrets: SecretsDirectory) -> None:
    rotate_key(engine, secrets, LATER, **SAID)
    assert declare_compromised(engine, secrets, "key-1", START, LATER, **SAID).successor is None
    assert len(secrets.signing_keys()) == 2
    assert key_at(secrets, LATER).key_id == "key-2"


def test_an_older_key_does_not_step_in_for_a_lost_one(engine: Engine, secrets: SecretsDirectory) -> None:
    rotate_key(engine, secrets, LATER, **SAID)
    much_later = LATER + timedelta(days=10)
    declare_compromised(engine, secrets, "key-2", LATER, much_later, **SAID)
    with pytest.raises(Terminal, match="key-2, which signed"):
        key_at(secrets, LATER + timedelta(days=1))
    assert key_at(secrets, much_later).key_id == "key-3"
    assert key_at(secrets, LATER - timedelta(days=1)).key_id == "key-1"


def test_said_twice_the_earlier_instant_holds(engine: Engine, secrets: SecretsDirectory) -> None:
    for days in (50, 60, 40):
        declare_compromised(engine, secrets, "key-1", START + timedelta(days=days), LATER, **SAID)
    assert recorded(engine)[0][3] == START + timedelta(days=40)
    assert secrets.signing_keys()[0].compromised_at == START + timedelta(days=40)
    assert len(recorded(engine)) == 2, "one successor is enough"


WRONG = {
    "no such key": ("key-9", LATER, "no key key-9; there are: key-1"),
    "not a key": ("../key-1", LATER, r"no key \.\./key-1"),
    "the future": ("key-1", LATER + timedelta(seconds=1), "cannot be compromised since"),
    "before it was made": ("key-1", START - timedelta(seconds=1), "cannot be compromised since"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_refused_and_nothing_is_written(
    case: tuple[str, datetime, str], engine: Engine, secrets: SecretsDirectory
) -> None:
    key, since, message = case
    with pytest.raises(Terminal, match=message):
        declare_compromised(engine, secrets, key, since, LATER, **SAID)
    assert recorded(engine) == [("key-1", START, None, None)]
    assert actions(engine) == []


def test_a_directory_from_a_backup_learns_from_the_ledger_what_was_lost(
    engine: Engine, secrets: SecretsDirectory
) -> None:
    rotate_key(engine, secrets, LATER, **SAID)
    declare_compromised(engine, secrets, "key-2", LATER, LATER, **SAID)
    (secrets.path / "key-2.compromised.json").unlink()
    restored = SecretsDirectory(secrets.path, PASSPHRASE)
    assert restored.signing_keys()[1].compromised_at is None
    ensure_signing_key(engine, restored, LATER)
    assert restored.signing_keys()[1].compromised_at == LATER


def test_a_ledger_from_a_backup_learns_from_the_directory_what_was_lost(
    engine: Engine, secrets: SecretsDirectory, new_database: Callable[[], str]
) -> None:
    declare_compromised(engine, secrets, "key-1", START, LATER, **SAID)
    other = open_engine(new_database())
    try:
        ensure_signing_key(other, secrets, LATER)
        ensure_signing_key(other, secrets, LATER)
        assert recorded(other) == recorded(engine)
    finally:
        other.dispose()


def test_a_changed_mark_is_noticed(engine: Engine, secrets: SecretsDirectory) -> None:
    declare_compromised(engine, secrets, "key-1", START, LATER, **SAID)
    mark = secrets.path / "key-1.compromised.json"
    mark.write_text(mark.read_text().replace("2026-01-01", "2036-01-01"))
    with pytest.raises(Terminal, match=r"key-1\.compromised\.json was changed or damaged"):
        SecretsDirectory(secrets.path, PASSPHRASE).signing_keys()


def _rotate(url: str, path: Path, second: int) -> str:
    engine = open_engine(url)
    try:
        at = LATER + timedelta(seconds=second)
        return rotate_key(engine, SecretsDirectory(path, PASSPHRASE), at, **SAID).key_id
    except Terminal:
        return "too late"
    finally:
        engine.dispose()


def test_two_who_rotate_at_once_make_two_keys_with_periods_that_meet(engine: Engine, secrets: SecretsDirectory) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with get_context("spawn").Pool(2) as pool:
        made = pool.starmap(_rotate, [(url, secrets.path, 0), (url, secrets.path, 0)])
    assert sorted(made) == ["key-2", "key-3"]
    periods = recorded(engine)
    assert [row[2] for row in periods[:-1]] == [row[1] for row in periods[1:]]

"""A recorded ledger becomes a site; again, nothing; changed, only what changed."""

from __future__ import annotations

import hashlib
import shutil
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.credential.status_list import decode, is_set
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.publish.headers import class_of
from credential_pipeline.store.objects import ObjectConflict, ObjectStore, open_store
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher

DAY = timedelta(days=1)


def _bits(publisher: Publisher, number: int) -> set[int]:
    bits = decode(publisher.read(f"status/{number}.json")["credentialSubject"]["encodedList"])
    return {i for i in range(len(bits) * 8) if is_set(bits, i)}


def test_everything_recorded_is_published_and_written_down(publisher: Publisher, engine: Engine) -> None:
    issued = ledger.issue(engine, publisher.college, 5) + ledger.issue(
        engine, publisher.college, 2, achievement="first-aid"
    )
    result = publisher(chunk=3)

    files = publisher.files()
    assert set(files) == {
        ".well-known/did.json", "keys.json", "issuer.json", "index.html", "achievements/knots.json",
        "achievements/first-aid.json", "status/1.json", "status/2.json",
        *(path for path in files if path.startswith("assets/")),
        *(f"credentials/{c.public_id}.json" for c in issued),
        *(f"state/{c.public_id}.json" for c in issued),
    }  # fmt: skip
    for c in issued:
        assert files[f"credentials/{c.public_id}.json"] == c.document
    assert ledger.manifest(engine) == {path: (hashlib.sha256(data).digest(), 1) for path, data in files.items()}
    assert (result.credentials, result.states, result.status_lists, result.documents) == (7, 7, 2, 7)
    assert (result.written, result.unchanged) == (len(files), 0)
    assert ledger.events(engine) == {c.credential_id: ["issued", "published"] for c in issued}


def test_again_nothing_is_written(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 3)
    publisher()
    before = publisher.files(), {f: f.stat().st_mtime_ns for f in publisher.folder.rglob("*")}
    result = publisher(ledger.AS_OF + timedelta(hours=1))
    assert (result.written, result.credentials, result.states, result.status_lists, result.documents) == (0,) * 5
    assert result.unchanged == len(before[0])
    assert (publisher.files(), {f: f.stat().st_mtime_ns for f in publisher.folder.rglob("*")}) == before
    assert all(kinds == ["issued", "published"] for kinds in ledger.events(engine).values())


def test_only_new_credentials_are_sent(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 3)
    publisher()
    ledger.issue(engine, publisher.college, 2, first=3)
    result = publisher()
    # The status list's bits are the same: two more credentials in it are not revoked either.
    assert (result.credentials, result.states, result.status_lists, result.documents, result.written) == (2, 2, 0, 0, 4)


def test_nothing_that_is_listed_or_shared_names_a_person(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 3)
    publisher()
    for path, data in publisher.files().items():
        assert class_of(path), path
        assert path.startswith("credentials/") or b"Person" not in data


def test_a_revocation_reaches_the_list_and_the_state(publisher: Publisher, engine: Engine) -> None:
    revoked, other, withdrawn = ledger.issue(engine, publisher.college, 3)
    publisher()
    ledger.move(engine, revoked.credential_id, "revoked")
    ledger.move(engine, withdrawn.credential_id, "withdrawn")
    result = publisher(ledger.AS_OF + timedelta(hours=1))

    assert (result.written, result.status_lists, result.states, result.credentials) == (3, 1, 2, 0)
    assert _bits(publisher, 1) == {revoked.status_index, withdrawn.status_index}
    state = publisher.read(f"state/{revoked.public_id}.json")
    assert (state["state"], state["version"]) == ("revoked", 2)
    assert "reason" not in state
    assert publisher.read(f"state/{other.public_id}.json")["state"] == "current"
    versions = {path: version for path, (_, version) in ledger.manifest(engine).items()}
    assert versions["status/1.json"] == versions[f"state/{revoked.public_id}.json"] == 2
    assert versions[f"state/{other.public_id}.json"] == 1


def test_a_suspension_list_shows_suspensions_and_revocations(publisher: Publisher, engine: Engine) -> None:
    suspended, revoked, _ = ledger.issue(engine, publisher.college, 3, achievement="first-aid")
    on_revocation_list, *_ = ledger.issue(engine, publisher.college, 1)
    for c, state in ((suspended, "suspended"), (revoked, "revoked"), (on_revocation_list, "suspended")):
        ledger.move(engine, c.credential_id, state)
    publisher()
    assert publisher.read("status/2.json")["credentialSubject"]["statusPurpose"] == "suspension"
    assert _bits(publisher, 2) == {suspended.status_index, revoked.status_index}
    assert _bits(publisher, 1) == set()  # a revocation list cannot say "for now"

    with engine.begin() as connection:  # suspended until today
        connection.execute(
            text(
                "update ledger.credential_state set state = 'current', version = version + 1 where credential_id = :c"
            ),
            {"c": suspended.credential_id},
        )
    publisher()
    assert _bits(publisher, 2) == {revoked.status_index}


def test_a_superseded_version_names_the_newer_and_is_revoked(publisher: Publisher, engine: Engine) -> None:
    old, new = ledger.issue(engine, publisher.college, 2)
    ledger.move(engine, old.credential_id, "superseded", superseded_by=new.credential_id)
    publisher()
    state = publisher.read(f"state/{old.public_id}.json")
    assert (state["state"], state["supersededBy"]) == (
        "superseded",
        f"https://badges.college.example/credentials/{new.public_id}.json",
    )
    assert _bits(publisher, 1) == {old.status_index}


def test_signed_anew_before_half_the_validity_is_left(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 2)
    publisher()
    assert publisher(ledger.AS_OF + 3 * DAY).written == 0
    lists = publisher(ledger.AS_OF + 4 * DAY)  # status_valid_days: 7
    assert (lists.status_lists, lists.states, lists.written) == (1, 0, 1)
    both = publisher(ledger.AS_OF + 16 * DAY)  # state_valid_days: 30
    assert (both.status_lists, both.states, both.written) == (1, 2, 3)
    assert publisher.read("status/1.json")["validUntil"] == "2024-06-24T12:00:00Z"
    assert ledger.manifest(engine)["status/1.json"][1] == 3


def test_an_earlier_as_of_makes_nothing_stale_sooner(publisher: Publisher, engine: Engine) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    publisher(ledger.AS_OF + 10 * DAY)
    until = publisher.read("status/1.json")["validUntil"], publisher.read(f"state/{c.public_id}.json")["validUntil"]
    ledger.move(engine, c.credential_id, "revoked")
    assert publisher(ledger.AS_OF).written == 2
    assert _bits(publisher, 1) == {c.status_index}
    assert until == (
        publisher.read("status/1.json")["validUntil"],
        publisher.read(f"state/{c.public_id}.json")["validUntil"],
    )


def test_a_conflict_stops_before_anything_is_written_down(publisher: Publisher, engine: Engine) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    path = f"credentials/{c.public_id}.json"
    publisher.store.put(path, b"somebody else's")
    with pytest.raises(ObjectConflict, match=c.public_id):
        publisher()
    assert publisher.store.get(path) == b"somebody else's"
    assert path not in ledger.manifest(engine)
    assert ledger.events(engine)[c.credential_id] == ["issued"]
    publisher.store.delete(path)
    assert publisher().credentials == 1


def test_a_damaged_ledger_is_not_published(publisher: Publisher, engine: Engine) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    with engine.begin() as connection:
        connection.execute(text("update ledger.credential set document_sha256 = sha256('x')"))
    with pytest.raises(Terminal, match="SHA-256 differs"):
        publisher()
    assert publisher.store.get(f"credentials/{c.public_id}.json") is None


def test_an_erased_credential_keeps_its_state_and_is_not_sent(publisher: Publisher, engine: Engine) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    ledger.move(engine, c.credential_id, "withdrawn")
    with engine.begin() as connection:
        connection.execute(text("update ledger.credential set document = null"))
    assert publisher().credentials == 0
    assert publisher.store.get(f"credentials/{c.public_id}.json") is None
    assert publisher.read(f"state/{c.public_id}.json")["state"] == "withdrawn"


def test_an_emptied_target_is_filled_again(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 2)
    publisher()
    before = publisher.files()
    shutil.rmtree(publisher.folder)
    assert publisher().credentials == 2
    assert publisher.files().keys() == before.keys()
    assert all(kinds == ["issued", "published"] for kinds in ledger.events(engine).values())


def test_a_tampered_status_list_is_replaced(publisher: Publisher, engine: Engine) -> None:
    ledger.issue(engine, publisher.college, 1)
    publisher()
    publisher.store.put("status/1.json", b"{}")
    assert publisher().status_lists == 1
    assert _bits(publisher, 1) == set()


def test_a_second_target_has_the_same_credentials_and_no_second_event(
    publisher: Publisher, engine: Engine, store_elsewhere: ObjectStore
) -> None:
    (c,) = ledger.issue(engine, publisher.college, 1)
    publisher()
    assert publisher(store=store_elsewhere, target="elsewhere").credentials == 1
    assert store_elsewhere.get(f"credentials/{c.public_id}.json") == c.document
    assert ledger.events(engine)[c.credential_id] == ["issued", "published"]


@pytest.fixture
def store_elsewhere(tmp_path: object) -> ObjectStore:
    return open_store("elsewhere", tmp_path)


def test_what_left_the_catalogue_can_still_be_read(publisher: Publisher, engine: Engine, college: Institution) -> None:
    ledger.issue(engine, college, 1)
    catalogue = college.catalogue.model_dump(mode="json")
    catalogue["programmes"][0]["achievements"].pop(0)
    later = ledger.institution(catalogue=catalogue)
    assert "knots" not in later.catalogue.achievements
    publisher(college=later)
    assert publisher.read("achievements/knots.json")["name"] == "Knots"
    assert publisher(college=later).written == 0


def test_the_stable_documents(publisher: Publisher, engine: Engine, college: Institution) -> None:
    publisher()
    did = publisher.read(".well-known/did.json")
    assert did["assertionMethod"] == ["did:web:badges.college.example#key-1"]
    assert publisher.read("issuer.json")["name"] == "Collège <Test>"
    assert publisher.read("keys.json")["keys"][0]["validFrom"] == "2024-01-01T00:00:00Z"
    achievement = publisher.read("achievements/knots.json")
    assert achievement["id"] == "https://badges.college.example/achievements/knots.json"
    page = publisher.store.get("index.html")
    assert page is not None
    assert b"Coll\xc3\xa8ge &lt;Test&gt;" in page
    assert b"<script" not in page
    assert publisher.store.get("did.json") is None


def test_a_base_url_with_a_path_has_its_did_below_it(publisher: Publisher) -> None:
    college = ledger.institution(base_url="https://college.example/badges")
    publisher(college=college)
    assert publisher.read("did.json")["id"] == "did:web:college.example:badges"
    assert publisher.read("did.json") == publisher.read(".well-known/did.json")


def test_key_rotation_and_compromise(publisher: Publisher, engine: Engine, college: Institution) -> None:
    (c,) = ledger.issue(engine, college, 1)
    publisher()
    ledger.record_key(engine, college, "key-2", ledger.AS_OF + DAY)
    with engine.begin() as connection:
        connection.execute(
            text("update ledger.signing_key set compromised_at = :at where key_id = 'key-1'"),
            {"at": ledger.AS_OF + DAY},
        )
    result = publisher(ledger.AS_OF + 2 * DAY, key="key-2")
    assert (result.documents, result.status_lists) == (2, 1)  # did.json, keys.json; the list that the lost key signed
    assert (result.states, result.written) == (0, 3)
    did = publisher.read(".well-known/did.json")
    assert did["assertionMethod"] == ["did:web:badges.college.example#key-2"]
    assert len(did["verificationMethod"]) == 2
    keys = publisher.read("keys.json")
    assert keys["asOf"] == "2024-06-02T12:00:00Z"
    assert keys["proof"]["verificationMethod"].endswith("#key-2")
    assert "compromisedAt" in keys["keys"][0]
    assert c.document == publisher.store.get(f"credentials/{c.public_id}.json")


def test_a_key_that_is_not_recorded_signs_nothing(publisher: Publisher) -> None:
    with pytest.raises(Terminal, match="not recorded in the ledger"):
        publisher(key="key-9")
    assert publisher.files() == {}

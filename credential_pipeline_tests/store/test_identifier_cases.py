"""docs/decisions/0001: every identifier, and what happens to it, case by case, against the migrated schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from credential_pipeline.credential import identifiers
from credential_pipeline.issue.merges import settle_merges
from credential_pipeline_tests.ledger import AS_OF, ID_SECRET, INSTITUTION, Ledger


def test_ids_are_what_the_standard_library_makes_of_the_same_name() -> None:
    """RFC 9562 5.5 over compact JSON: whatever the text, the faster way gives the same id."""
    texts = [
        "",
        "renewal:2027-03",
        *(chr(n) for n in range(0x20)),
        '"\\/',
        "\x7f",
        "Zo\u00eb \u2028",
        "\U0001f600",
        "\uffff",
    ]
    award = UUID(int=7)
    for cause in texts:
        name = json.dumps(["credential", str(award), cause], ensure_ascii=False, separators=(",", ":"))
        assert identifiers.credential_id(award, cause) == uuid5(identifiers.NAMESPACE, name), repr(cause)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Ledger]:
    with engine.begin() as connection:
        made = Ledger(connection)
        made.base()
        yield made


def scalar(ledger: Ledger, statement: str, **parameters: object) -> object:
    return ledger.connection.scalar(text(statement), parameters)


@dataclass(frozen=True)
class Start:
    """One person with one issued award: where each case begins."""

    person: UUID
    award: UUID
    credential: UUID
    public: str


def start(ledger: Ledger) -> Start:
    person = ledger.person("sis:S1", "lms:L1")
    award = ledger.award(person, "data-101", "2025SP")
    credential = ledger.credential(award)
    return Start(person, award, credential, identifiers.public_id(ID_SECRET, credential))


def test_identifiers_come_out_as_decided() -> None:
    """Golden values: a change here re-keys every credential ever issued."""
    person = identifiers.person_id("northfield", "lms:L000001")
    award = identifiers.award_id("northfield", person, "data-101", "2025SP")
    credential = identifiers.credential_id(award, "issue")
    assert {
        "row": identifiers.row_hash("lms.users", {"b": "2", "a": "ä"}).hex(),
        "person": str(person),
        "award": str(award),
        "credential": str(credential),
        "plan": str(identifiers.plan_id("northfield", bytes(32))),
        "message": str(identifiers.message_id(credential, "issued")),
        "public": identifiers.public_id(bytes(32), credential),
        "salt": identifiers.salt(bytes(32), credential, "emailAddress"),
        "status": identifiers.status_place(bytes(32), "revocation", 131_073),
    } == GOLDEN


GOLDEN: dict[str, object] = {
    "award": "e27f8cec-dbb9-583a-ba79-d93e2f5b5fd6",
    "credential": "b7bc4a0c-84db-5c53-af15-553eafe0c7c2",
    "message": "0f678cc1-ab16-5e12-ad11-62c077081308",
    "person": "936458b8-1c4e-567f-844c-37a0e9336f2a",
    "plan": "ffd533f1-a00e-55a7-be38-55ae6134e4ab",
    "public": "cqphms7xofz73cts3k32ytmt3e",
    "row": "5c329776ced1e4e3f361d05d5a36de69636d6b7da648bd1dd780acb30ffb8094",
    "salt": "b11b68adaa9320cc1ff529e9f6dc4a68",
    "status": (1, 60987),
}


def new_version(cause: str) -> Callable[[Ledger, Start], None]:
    """A correction, a renewal, a campaign: same person and award, a new credential with its own index."""

    def case(ledger: Ledger, begun: Start) -> None:
        second = ledger.credential(begun.award, cause, index=1)
        assert second == identifiers.credential_id(begun.award, cause) != begun.credential
        assert identifiers.public_id(ID_SECRET, second) != begun.public
        assert scalar(
            ledger, "select public_id from ledger.credential where credential_id = :c", c=begun.credential
        ) == (begun.public)
        dates = "select count(distinct awarded_on) from ledger.credential where award_id = :a"
        assert scalar(ledger, dates, a=begun.award) == 1
        with pytest.raises(IntegrityError), ledger.connection.begin_nested():
            ledger.credential(begun.award, cause, index=2)

    return case


def replay(ledger: Ledger, begun: Start) -> None:
    for again in (lambda: ledger.credential(begun.award, index=5), lambda: start(ledger)):
        with pytest.raises(IntegrityError), ledger.connection.begin_nested():
            again()


def same_index_twice(ledger: Ledger, begun: Start) -> None:
    other = ledger.award(begun.person, "data-201", "2025SP")
    with pytest.raises(IntegrityError), ledger.connection.begin_nested():
        ledger.credential(other, index=0)


def same_award_by_another_row(ledger: Ledger, begun: Start) -> None:
    with pytest.raises(IntegrityError), ledger.connection.begin_nested():
        ledger.award(begun.person, "data-101", "2025SP", minted_for=identifiers.person_id(INSTITUTION, "hr:E1"))


def merge(ledger: Ledger, begun: Start) -> None:
    later = ledger.person("hr:E1", day=date(2026, 1, 16))
    award = ledger.award(later, "safety", "2025")
    ledger.credential(award, index=1)
    ledger.merge(later, begun.person)
    assert settle_merges(ledger.connection) == 1
    assert scalar(ledger, "select person_id from ledger.award where award_id = :a", a=award) == begun.person
    assert award == identifiers.award_id(INSTITUTION, later, "safety", "2025"), "the award id stays as minted"
    assert settle_merges(ledger.connection) == 0


def merge_with_two_live_awards(ledger: Ledger, begun: Start) -> None:
    later = ledger.person("hr:E1", day=date(2026, 1, 16))
    younger = ledger.award(later, "data-101", "2025SP")
    ledger.execute("update ledger.award set day = day + 1 where award_id = :a", a=younger)
    ledger.credential(younger, index=1)
    ledger.merge(later, begun.person)
    settle_merges(ledger.connection)
    assert scalar(ledger, "select duplicate_of from ledger.award where award_id = :a", a=younger) == begun.award
    assert scalar(ledger, "select duplicate_of from ledger.award where award_id = :a", a=begun.award) is None
    live = "select count(*) from ledger.credential_state where state = 'current'"
    assert scalar(ledger, live) == 2, "nothing is revoked without a person"


def split(ledger: Ledger, begun: Start) -> None:
    """The leaving record gets the id of its own key; the award stays where it is."""
    leaving = identifiers.person_id(INSTITUTION, "sis:S1")
    assert leaving != begun.person, "the cluster was named by its smallest key, lms:L1"
    ledger.execute(
        "insert into identity.person (person_id, first_source_key, first_day, run_id)"
        " values (:p, 'sis:S1', :day, :run)",
        p=leaving,
    )
    ledger.execute("update identity.source_record set person_id = :p where source_key = 'sis:S1'", p=leaving)
    assert scalar(ledger, "select person_id from ledger.award where award_id = :a", a=begun.award) == begun.person


def erasure(ledger: Ledger, begun: Start) -> None:
    digest = scalar(
        ledger, "select document_sha256 from ledger.credential where credential_id = :c", c=begun.credential
    )
    ledger.execute("update ledger.credential set document = null where credential_id = :c", c=begun.credential)
    ledger.execute(
        "update ledger.credential_state set state = 'withdrawn', version = version + 1 where credential_id = :c",
        c=begun.credential,
    )
    kept = ledger.connection.execute(
        text("select credential_id, public_id, document_sha256, status_index from ledger.credential")
    ).one()
    assert tuple(kept) == (begun.credential, begun.public, digest, 0)


def rotated_id_secret(ledger: Ledger, begun: Start) -> None:
    second = ledger.award(begun.person, "data-201", "2025SP")
    ledger.credential(second, index=1)
    ledger.execute(
        "update ledger.credential set id_secret_version = 2, public_id = :p where award_id = :a",
        p=identifiers.public_id(b"new" * 11, identifiers.credential_id(second, "issue")),
        a=second,
    )
    stored = "select public_id from ledger.credential where id_secret_version = 1"
    assert scalar(ledger, stored) == begun.public, "what is stored is not computed again"


def rotated_status_secret(ledger: Ledger, begun: Start) -> None:
    ledger.execute(
        "insert into ledger.status_list (list_number, purpose, ordinal, secret_version) values (3, 'revocation', 1, 2)"
    )
    assert scalar(ledger, "select secret_version from ledger.status_list where list_number = 1") == 1
    place = identifiers.status_place
    assert place(b"a" * 32, "revocation", 0) != place(b"b" * 32, "revocation", 0)


def rotated_signing_key(ledger: Ledger, begun: Start) -> None:
    ledger.execute(
        "insert into ledger.signing_key (key_id, algorithm, public_key_multibase, valid_from)"
        " values ('key-2', 'Ed25519', 'z6Mm', :as_of)",
        as_of=AS_OF,
    )
    assert (
        scalar(ledger, "select key_id from ledger.credential where credential_id = :c", c=begun.credential) == "key-1"
    )


def audit_log(ledger: Ledger, begun: Start) -> None:
    for statement in ("update ledger.event set actor = 'x'", "delete from ledger.event", "truncate ledger.event"):
        with pytest.raises(DBAPIError), ledger.connection.begin_nested():
            ledger.execute(statement)
    with pytest.raises(IntegrityError), ledger.connection.begin_nested():
        ledger.execute(
            "insert into ledger.event (credential_id, seq, kind, actor, run_id) values (:c, 1, 'again', 'x', :run)",
            c=begun.credential,
        )


CASES: dict[str, Callable[[Ledger, Start], None]] = {
    "correction": new_version("correction:7"),
    "renewal": new_version("renewal:2027-01"),
    "campaign": new_version("campaign:lost-key-1"),
    "replay, retry, second daemon": replay,
    "one status index once": same_index_twice,
    "one award of a person once": same_award_by_another_row,
    "merge": merge,
    "merge that leaves two live awards": merge_with_two_live_awards,
    "split": split,
    "erasure": erasure,
    "rotation of the id secret": rotated_id_secret,
    "rotation of the status secret": rotated_status_secret,
    "rotation of the signing key": rotated_signing_key,
    "the audit log is append-only": audit_log,
}


@pytest.mark.parametrize("case", CASES)
def test_case(ledger: Ledger, case: str) -> None:
    CASES[case](ledger, start(ledger))


def test_every_case_of_the_decision_is_driven() -> None:
    decision = Path(__file__).parents[2] / "docs" / "decisions" / "0001-identifiers-and-time.md"
    table = decision.read_text().partition("what happens to them")[2]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(ROWS)
    assert {case for cases in ROWS.values() for case in cases} <= set(CASES) | DRIVEN_ELSEWHERE


DRIVEN_ELSEWHERE = {"identify: a changed key is linked by a rule"}

ROWS: dict[str, tuple[str, ...]] = {
    "correction of a name, score or date": ("correction",),
    "correction of the person's own key at the source": tuple(DRIVEN_ELSEWHERE),
    "merge of two persons": ("merge",),
    "merge that leaves two live awards for one achievement and occurrence": ("merge that leaves two live awards",),
    "split": ("split",),
    "renewal": ("renewal",),
    "campaign (re-issue after a lost key)": ("campaign",),
    "erasure": ("erasure",),
    "rotation of the id or salt secret": ("rotation of the id secret",),
    "rotation of the status secret": ("rotation of the status secret",),
    "rotation of the signing key": ("rotation of the signing key",),
    "replay, retry, backfill, second daemon": ("replay, retry, second daemon",),
}


def test_places_in_a_list_never_collide_and_do_not_follow_the_order() -> None:
    length = identifiers.STATUS_LIST_LENGTH
    places = [identifiers.status_place(b"k" * 32, "revocation", n) for n in range(length)]
    assert {index for _, index in places} == set(range(length))
    assert {ordinal for ordinal, _ in places} == {0}
    assert sum(abs(a[1] - b[1]) == 1 for a, b in pairwise(places)) < 20
    assert identifiers.status_place(b"k" * 32, "revocation", length)[0] == 1

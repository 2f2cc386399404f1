"""Corrections: what the new version says, what becomes of the old one, and what is refused."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.issue.correct import Correction, correction_id, corrections_of
from credential_pipeline.issue.select import Named
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, AS_OF, Desk, achievement, institution, passed
from credential_pipeline_tests.issue.office import LATER, Registrar, lasting_registrar

GRADE = {"id": "grade", "name": "Grade", "type": "LetterGrade", "field": "outcome", "allowed": ["A", "B", "passed"]}


@pytest.fixture
def registrar(new_desk: Callable[..., Desk], tmp_path: Path) -> Registrar:
    """Of a school that has issued knots and safety to U1 and U2."""
    desk = new_desk()
    desk.offer([passed(person, course) for person in ("U1", "U2") for course in ("knots", "safety")])
    assert desk.issue() == 4
    return Registrar(desk, tmp_path)


@pytest.fixture(scope="module")
def standing(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """The same for tests that change nothing."""
    with lasting_registrar(server_url, template, tmp_path_factory.mktemp("standing")) as registrar:
        registrar.desk.offer([passed(person, course) for person in ("U1", "U2") for course in ("knots", "safety")])
        assert registrar.desk.issue() == 4
        yield registrar


def documents(registrar: Registrar, credential: UUID) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a credential and the version that took its place say."""
    [(successor,)] = registrar.desk.rows(
        "select superseded_by from ledger.credential_state where credential_id = :c", c=credential
    )
    said = registrar.desk.documents()
    return json.loads(said[credential]), json.loads(said[successor])


def name_of(document: dict[str, Any]) -> str:
    [name] = [i["identityHash"] for i in document["credentialSubject"]["identifier"] if not i["hashed"]]
    return str(name)


def test_a_correction_is_a_new_version_and_keeps_what_is_not_corrected(registrar: Registrar) -> None:
    one = registrar.credential()
    changed = registrar.correct(one, name="Una Right", order={"reason": "married", "actor": "ada"})
    assert (changed.state, changed.done, changed.in_order) == ("applied", 1, True)
    before, after = documents(registrar, one)
    assert (name_of(before), name_of(after)) == ("Ub Learner", "Una Right")
    for member in ("awardedDate", "issuer", "type", "name"):
        assert after[member] == before[member]
    subject, old = after["credentialSubject"], before["credentialSubject"]
    assert (subject["result"], subject["achievement"], subject["term"]) == (
        old["result"], old["achievement"], old["term"],
    )  # fmt: skip
    assert after["id"] != before["id"]
    assert (before["validFrom"], after["validFrom"]) == ("2026-03-02T10:00:00Z", "2026-03-05T10:00:00Z")
    assert after["credentialStatus"]["id"] != before["credentialStatus"]["id"]
    assert len({i.get("salt") for d in (old, subject) for i in d["identifier"] if i["hashed"]}) == 4


def test_the_old_version_gives_way_and_the_recipient_is_told_once(registrar: Registrar) -> None:
    one = registrar.credential()
    registrar.correct(one, results={"score": "88"}, order={"reason": "regraded", "actor": "ada"})
    [(two, cause, person)] = registrar.desk.rows(
        "select credential_id, cause, person_id from ledger.credential where cause <> 'issue'"
    )
    assert (registrar.state(one), registrar.state(two)) == ("superseded", "current")
    assert registrar.events(one)[1:] == [(2, "superseded", "ada", "regraded")]
    assert [event[:2] for event in registrar.events(two)] == [(1, "issued")]
    assert registrar.messages() == [("issued", 1)]
    told = "select person_id from outbox.message where credential_id = :c"
    assert registrar.desk.rows(told, c=two) == [(person,)]
    award = registrar.desk.value("select award_id from ledger.credential where credential_id = :c", c=one)
    assert two == identifiers.credential_id(award, cause)
    secret = registrar.desk.secrets.secret("id").value
    assert cause == f"correction:{correction_id(secret, one, {'result:score': '88'})}"


def test_the_id_of_a_correction_is_what_was_decided() -> None:
    credential = UUID("5b0c9f3c-6a53-5a2a-8d1c-0b8f3d1f5a11")
    essence = b'correction\0["5b0c9f3c-6a53-5a2a-8d1c-0b8f3d1f5a11",{"awarded_on":"2026-01-31","name":"Zo\xc3\xab"}]'
    expected = hmac.digest(b"secret", essence, "sha256").hex()[:16]
    assert correction_id(b"secret", credential, {"name": "Zoë", "awarded_on": "2026-01-31"}) == expected


def test_published_the_old_one_says_what_took_its_place(registrar: Registrar) -> None:
    one = registrar.credential()
    registrar.publish(LATER - timedelta(hours=1))
    registrar.correct(one, name="Una Right")
    registrar.publish()
    [(two,)] = registrar.desk.rows("select credential_id from ledger.credential where cause <> 'issue'")
    assert registrar.published(one) == ("superseded", True)
    assert registrar.published(two) == ("current", False)
    state = registrar.read(f"state/{registrar.public_id(one)}.json")
    assert state["supersededBy"] == f"https://badges.school.example/credentials/{registrar.public_id(two)}.json"


def test_a_replay_finds_the_version_that_is_there(registrar: Registrar) -> None:
    one = registrar.credential()
    registrar.correct(one, name="Una Right", results={"score": "88"})
    again = registrar.correct(one, results={"score": "88"}, name=" Una Right ", order={"as_of": LATER + timedelta(1)})
    assert (again.state, again.draft.already, again.in_order) == ("nothing", 1, True)
    assert registrar.desk.value("select count(*) from ledger.credential where cause <> 'issue'") == 1
    assert registrar.messages() == [("issued", 1)]


def test_a_superseded_version_is_refused_with_the_url_of_the_current_one(
    registrar: Registrar,
) -> None:
    one = registrar.credential()
    registrar.correct(one, name="Una Right")
    two = registrar.desk.value("select public_id from ledger.credential where cause <> 'issue'")
    with pytest.raises(Terminal, match=rf"correct the version that took its place: .*/credentials/{two}\.json"):
        registrar.correct(one, name="Una Wright")
    assert registrar.correct(two, name="Una Wright").done == 1
    assert registrar.desk.rows(
        "select s.state, count(*) from ledger.credential_state s join ledger.credential c using (credential_id)"
        " where c.award_id = (select award_id from ledger.credential where credential_id = :c) group by 1 order by 1",
        c=one,
    ) == [("current", 1), ("superseded", 2)]


def test_a_correction_that_changes_nothing_is_refused(registrar: Registrar) -> None:
    with pytest.raises(Terminal, match="nothing would change"):
        registrar.correct(registrar.credential(), name="Ub Learner", results={"score": "70"})
    assert registrar.desk.value("select count(*) from ledger.plan where kind = 'correct'") == 0


def test_a_member_that_is_right_already_is_no_part_of_the_correction(registrar: Registrar) -> None:
    one = registrar.credential()
    changed = registrar.correct(one, name="Ub Learner", results={"score": "71"})
    assert changed.draft.shown[0].changes == {"result:score": ("70", "71")}
    assert registrar.desk.value("select reasons from ledger.plan_line where action = 'replace'") == [
        "corrected", "result:score",
    ]  # fmt: skip
    assert registrar.correct(one, results={"score": "71"}).draft.already == 1


def test_the_end_counts_from_the_right_day(registrar: Registrar) -> None:
    one = registrar.credential("safety")
    changed = registrar.correct(one, awarded_on=date(2026, 1, 31))
    assert set(changed.draft.shown[0].changes) == {"awarded_on", "valid_until"}
    before, after = documents(registrar, one)
    assert (before["awardedDate"], before["validUntil"]) == ("2026-02-01T00:00:00Z", "2027-02-01T05:00:00Z")
    assert (after["awardedDate"], after["validUntil"]) == ("2026-01-31T00:00:00Z", "2027-01-31T05:00:00Z")
    assert registrar.desk.rows(
        "select awarded_on, valid_until from ledger.credential where cause <> 'issue'"
    ) == [(date(2026, 1, 31), datetime(2027, 1, 31, 5, tzinfo=UTC))]  # fmt: skip


def test_an_end_that_is_given_stays_when_the_day_is_corrected_later(registrar: Registrar) -> None:
    registrar.correct(registrar.credential("safety"), valid_until=date(2027, 7, 1))
    two = registrar.desk.value("select credential_id from ledger.credential where cause <> 'issue'")
    registrar.correct(two, awarded_on=date(2026, 1, 31))
    before, after = documents(registrar, two)
    # Summer time: the day begins at 04:00 UTC in New York.
    assert before["validUntil"] == after["validUntil"] == "2027-07-01T04:00:00Z"
    assert (before["awardedDate"], after["awardedDate"]) == ("2026-02-01T00:00:00Z", "2026-01-31T00:00:00Z")


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("knots", {"results": {"score": "101"}}, "'101' of 'Score' is outside 0 to 100"),
    ("knots", {"results": {"score": "many"}}, "are not numbers"),
    ("knots", {"results": {"grade": "A"}}, "knots has no result 'grade'; it has score"),
    ("safety", {"results": {"score": "1"}}, "safety has no result 'score'; it has none"),
    ("knots", {"name": "  "}, "the name is empty"),
    ("knots", {"name": "Una\x07"}, r"the name holds U\+0007"),
    ("knots", {"awarded_on": date(2026, 3, 6)}, "it would be awarded in the future"),
    ("safety", {"valid_until": date(2026, 3, 1)}, "it would have ended already"),
    ("safety", {"awarded_on": date(2025, 3, 1)}, "it would have ended already"),
]


@pytest.mark.parametrize(("course", "members", "told"), REFUSED)
def test_what_no_credential_can_say_is_refused(
    standing: Registrar, course: str, members: dict[str, Any], told: str
) -> None:
    with pytest.raises(Terminal, match=told):
        standing.correct(standing.credential(course), **members)
    assert standing.desk.count("ledger.credential") == 4
    assert standing.desk.value("select count(*) from ledger.credential_state where state <> 'current'") == 0


def test_a_result_is_held_against_the_values_that_the_catalogue_allows(
    new_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    desk = new_desk(institution(achievement("knots", results=[GRADE]), achievement("plain", results=[GRADE])))
    desk.offer([passed("U1")])
    assert desk.issue() == 1
    registrar = Registrar(desk, tmp_path)
    with pytest.raises(Terminal, match="'C' of 'Grade' is not one of A, B, passed"):
        registrar.correct(registrar.credential(), results={"grade": "C"})
    assert registrar.correct(registrar.credential(), results={"grade": "A"}).done == 1


@pytest.mark.parametrize(("kind", "told"), [("suspend", "reinstate it first"), ("revoke", "only a current credential")])
def test_only_a_current_credential_is_corrected(registrar: Registrar, kind: str, told: str) -> None:
    one = registrar.credential("safety")
    registrar.change(kind, one)
    with pytest.raises(Terminal, match=told):
        registrar.correct(one, name="Una Right")


def test_a_name_is_not_corrected_where_credentials_show_none(new_desk: Callable[..., Desk], tmp_path: Path) -> None:
    recipient = {"name": "omitted", "identifiers": [{"type": "emailAddress", "from": "email"}]}
    desk = new_desk(institution(*ACHIEVEMENTS, recipient=recipient))
    desk.offer([passed("U1")])
    assert desk.issue() == 1
    registrar = Registrar(desk, tmp_path)
    with pytest.raises(Terminal, match="show no name"):
        registrar.correct(registrar.credential(), name="Una Right")
    assert registrar.correct(registrar.credential(), results={"score": "71"}).done == 1


def test_what_left_the_catalogue_is_not_corrected(registrar: Registrar) -> None:
    one = registrar.credential()
    for school, told in (
        (institution(achievement("safety", occurrence="once")), "achievement knots has left the catalogue"),
        (institution(achievement("knots")), "no longer has its result 'score'"),
    ):
        elsewhere = replace(registrar, desk=replace(registrar.desk, institution=school))
        with pytest.raises(Terminal, match=told):
            elsewhere.correct(one, name="Una Right")


def test_four_eyes_see_the_correction_of_what_four_eyes_saw(registrar: Registrar) -> None:
    strict = institution(*({**a, "approval": "four_eyes"} for a in ACHIEVEMENTS))
    changed = replace(registrar, desk=replace(registrar.desk, institution=strict)).correct(
        registrar.credential(), name="Una Right"
    )
    assert (changed.state, changed.done) == ("waiting", 0)
    assert registrar.desk.value("select approval from ledger.plan where kind = 'correct'") == "four_eyes"
    assert registrar.state(registrar.credential()) == "current"


def test_a_dry_run_shows_the_difference_and_stores_nothing(registrar: Registrar) -> None:
    one = registrar.credential()
    tried = registrar.correct(one, name="Una Right", order={"dry_run": True})
    assert tried.state == "dry_run"
    assert tried.draft.shown[0].changes == {"name": ("Ub Learner", "Una Right")}
    assert registrar.desk.value("select count(*) from ledger.plan where kind = 'correct'") == 0
    assert registrar.correct(one, name="Una Right").hash == tried.hash


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_corrects_many_and_an_empty_cell_keeps_what_is_there(registrar: Registrar, tmp_path: Path) -> None:
    one, two, safety = registrar.credential(), registrar.credential(person="U2"), registrar.credential("safety")
    registrar.change("revoke", registrar.credential("safety", "U2"))
    wanted = corrections_of(
        write(
            tmp_path / "right.csv",
            "credential,name,result:score,awarded_on,valid_until",
            f'{one},"Right, Una",,,',
            f"{registrar.public_id(two)},,88,2026-01-30,",
            f"{safety},,,,2027-07-01",
            f"{registrar.credential('safety', 'U2')},Una,,,",
        )
    )
    changed = registrar.corrections(wanted)
    assert (changed.done, changed.in_order) == (3, False)
    assert list(changed.draft.refused) == ["right.csv:5: it is revoked: only a current credential can be corrected"]
    assert name_of(documents(registrar, one)[1]) == "Right, Una"
    before, after = documents(registrar, two)
    assert (name_of(after), after["awardedDate"]) == (name_of(before), "2026-01-30T00:00:00Z")
    assert [r["value"] for r in after["credentialSubject"]["result"]] == ["88"]
    assert documents(registrar, safety)[1]["validUntil"] == "2027-07-01T04:00:00Z"
    again = registrar.corrections(wanted[:3])
    assert (again.state, again.draft.already) == ("nothing", 3)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), "corrects nothing"),
        (("credential,name",), "corrects nothing"),
        (("abc",), "corrects nothing"),
        (("credential,nmae", "x,y"), r"right\.csv:1: the column 'nmae' is none of name"),
        (("credential,awarded_on", "x,31.1.2026"), r"right\.csv:2: awarded_on is not a day"),
        (("credential,name", ",Una"), r"right\.csv:2: no credential is named"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, lines: tuple[str, ...], told: str) -> None:
    with pytest.raises(Terminal, match=told):
        corrections_of(write(tmp_path / "right.csv", *lines))


def test_two_lines_about_one_credential_are_refused(registrar: Registrar) -> None:
    one = registrar.credential()
    twice = [
        Correction(Named(str(one), "right.csv:2"), name="Una"),
        Correction(Named(registrar.public_id(one), "right.csv:3"), results={"score": "88"}),
    ]
    with pytest.raises(Terminal, match=r"right\.csv:3: right\.csv:2 corrects the same credential"):
        registrar.corrections(twice)


def test_two_corrections_at_once_make_one_version_after_the_other(registrar: Registrar) -> None:
    one = registrar.credential()

    def attempt(name: str) -> str:
        try:
            return registrar.correct(one, name=name).state
        except Terminal as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(attempt, ["Una Right", "Una Wright"]))
        same = sorted(pool.map(attempt, ["Una Right", "Una Right"]))
    assert told[0] == "applied"
    assert "it is superseded" in told[1]
    assert registrar.desk.value("select count(*) from ledger.credential where cause <> 'issue'") == 1
    assert len(set(same)) == 1


def test_a_correction_names_the_person_the_award_belongs_to_now(registrar: Registrar) -> None:
    one, other = registrar.credential(), registrar.credential(person="U2")
    survivor = registrar.desk.value("select person_id from ledger.credential where credential_id = :c", c=other)
    registrar.desk.write(
        "update ledger.award set person_id = :p, achievement = 'knots', occurrence = 'moved' where award_id ="
        " (select award_id from ledger.credential where credential_id = :c)",
        p=survivor,
        c=one,
    )
    registrar.correct(one, results={"score": "88"}, order={"as_of": AS_OF + timedelta(days=5)})
    assert registrar.desk.value("select person_id from ledger.credential where cause <> 'issue'") == survivor

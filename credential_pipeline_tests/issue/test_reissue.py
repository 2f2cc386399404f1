"""A lost key: everything it signed gets a successor signed by another, and is revoked; nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.key_periods import declare_compromised, rotate_key
from credential_pipeline.issue.plans import Stored, open_plans
from credential_pipeline.issue.reissue import campaigns, plan_reissue
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, AS_OF, Desk, institution, passed, written
from credential_pipeline_tests.issue.signers import PEOPLE, RITA

LOST = datetime(2026, 3, 10, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
SAID = {"actor": "rita", "reason": "laptop stolen", "run_id": "run-2"}
ALONE = {"policies": {"campaign_approval": "actor"}}


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    """Three credentials of key-1, of which one can be suspended; the actor may let a campaign through."""
    desk = new_desk(institution(people=PEOPLE, **ALONE))
    desk.offer([passed("A"), passed("B"), passed("A", "safety", done="2026-02-10")])
    desk.issue()
    return desk


def lose(desk: Desk, key: str = "key-1") -> None:
    declare_compromised(desk.engine, desk.secrets, key, LOST, NOW, **SAID)


def reissue(desk: Desk, key: str = "key-1", at: datetime = NOW, **said: str) -> Stored | None:
    said = {"actor": "rita", "reason": "laptop stolen", **said}
    return plan_reissue(desk.engine, desk.institution, desk.secrets, key, at, "run-2", **said)


def apply_all(desk: Desk, at: datetime = NOW, **options: Any) -> int:
    return sum(desk.apply(plan, now=at, **options).issued for plan in open_plans(desk.engine))


def states(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.rows(
        "select c.key_id, c.cause, s.state, count(*) from ledger.credential c join ledger.credential_state s"
        " using (credential_id) group by 1, 2, 3 order by 1, 2, 3"
    )


def content(document: dict[str, Any]) -> dict[str, Any]:
    """What a successor has to say as the credential before did."""
    subject = {k: v for k, v in document["credentialSubject"].items() if k not in ("identifier", "id")}
    shown = [i["identityHash"] for i in document["credentialSubject"]["identifier"] if not i["hashed"]]
    return {
        "subject": subject, "names": shown, "awarded": document["awardedDate"], "until": document.get("validUntil"),
    }  # fmt: skip


def test_all_that_a_lost_key_signed_is_issued_again_with_the_same_content_and_superseded(desk: Desk) -> None:
    lose(desk)
    stored = reissue(desk)
    assert stored is not None
    assert stored.counts == {"replace": 3}
    assert apply_all(desk) == 3
    assert states(desk) == [
        ("key-1", "issue", "superseded", 3), ("key-2", "campaign:key-1", "current", 3),
    ]  # fmt: skip
    documents = {c: json.loads(data) for c, data in desk.documents().items()}
    pairs = desk.rows("select credential_id, superseded_by from ledger.credential_state where state = 'superseded'")
    for prior, successor in pairs:
        assert content(documents[prior]) == content(documents[successor])
        assert documents[successor]["validFrom"] == "2026-03-20T12:00:00Z"
        assert documents[successor]["proof"][0]["verificationMethod"].endswith("#key-2")
    assert desk.rows("select kind, actor, reason, count(*) from ledger.event group by 1, 2, 3 order by 1, 2") == [
        ("issued", "pipeline", None, 6), ("superseded", "rita", "laptop stolen", 3),
    ]  # fmt: skip
    [(kind, subject, actor, reason)] = desk.rows(
        "select kind, subject, actor, reason from ledger.action where kind = 'reissue_planned'"
    )
    assert (kind, subject, actor, reason) == ("reissue_planned", f"plan:{stored.plan_id}", "rita", "laptop stolen")


def test_a_second_campaign_of_the_key_finds_nothing_and_one_of_the_next_key_does(desk: Desk) -> None:
    lose(desk)
    reissue(desk)
    apply_all(desk)
    before = written(desk.engine)
    assert reissue(desk) is None
    assert written(desk.engine) == before
    later = datetime(2026, 4, 1, tzinfo=UTC)
    declare_compromised(desk.engine, desk.secrets, "key-2", NOW, later, **SAID)
    assert reissue(desk, "key-2", later) is not None
    assert apply_all(desk, later) == 3
    assert states(desk)[-1] == ("key-3", "campaign:key-2", "current", 3)


def test_the_plan_that_stands_is_found_again_and_waits_for_signatures_by_default(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk(institution(people=PEOPLE))
    desk.offer([passed("A"), passed("B")])
    desk.issue()
    lose(desk)
    first, second = reissue(desk), reissue(desk, at=datetime(2026, 3, 21, tzinfo=UTC))
    assert first is not None
    assert second is not None
    assert (second.plan_id, second.new) == (first.plan_id, False)
    assert open_plans(desk.engine) == []
    with pytest.raises(Terminal, match=r"not approved|no approval|signature"):
        desk.apply(first.plan_id, now=NOW)
    with pytest.raises(Terminal, match="they made it themselves"):
        approve(desk.engine, desk.institution, first.plan_id, "rita", RITA.sign_plan(first.hash), NOW, "run-2")
    reissue_of_another = reissue(desk, actor="pia")
    assert reissue_of_another is not None
    assert desk.value("select created_by from ledger.plan where plan_id = :p", p=first.plan_id) == "rita"


def test_what_has_ended_is_only_revoked_and_what_is_suspended_waits(desk: Desk) -> None:
    lose(desk)
    desk.write("update ledger.credential set valid_until = :now where achievement = 'safety'", now=NOW)
    desk.write(
        "update ledger.credential_state set state = 'suspended' where credential_id = ("
        " select credential_id from ledger.credential where achievement = 'knots' order by 1 limit 1)"
    )
    stored = reissue(desk)
    assert stored is not None
    assert stored.counts == {"replace": 1, "revoke": 1, "hold": 1}
    assert apply_all(desk) == 1
    assert states(desk) == [
        ("key-1", "issue", "revoked", 1), ("key-1", "issue", "superseded", 1), ("key-1", "issue", "suspended", 1),
        ("key-2", "campaign:key-1", "current", 1),
    ]  # fmt: skip
    assert desk.holds() == [("replace", "waiting", ["suspended"])]
    assert reissue(desk) is None, "said once"
    desk.write("update ledger.credential_state set state = 'current', version = 3 where state = 'suspended'")
    assert reissue(desk) is not None
    assert apply_all(desk) == 1


def test_what_left_the_catalogue_waits(desk: Desk) -> None:
    lose(desk)
    desk.institution = institution(*ACHIEVEMENTS[1:], people=PEOPLE, **ALONE)
    stored = reissue(desk)
    assert stored is not None
    assert stored.counts == {"replace": 1, "hold": 2}
    assert apply_all(desk) == 1
    assert {tuple(reasons) for _, _, reasons in desk.holds()} == {("achievement_not_in_catalogue",)}


def test_revoked_ones_stay_as_they_are_and_other_keys_are_not_touched(desk: Desk) -> None:
    desk.write("update ledger.credential_state set state = 'revoked' where credential_id in ("
               " select credential_id from ledger.credential where achievement = 'safety')")  # fmt: skip
    rotate_key(desk.engine, desk.secrets, LOST, **SAID)
    desk.offer([passed("C")], day=AS_OF.date().replace(day=11))
    desk.issue(AS_OF.date().replace(day=11), datetime(2026, 3, 11, tzinfo=UTC), now=NOW)
    lose(desk)
    stored = reissue(desk)
    assert stored is not None
    assert stored.counts == {"replace": 2}
    apply_all(desk)
    assert ("key-2", "issue", "current", 1) in states(desk)
    assert ("key-1", "issue", "revoked", 1) in states(desk)


WRONG = {
    "the key that signs": ("key-1", {}, "is the key that signs"),
    "no such key": ("key-7", {}, "no key key-7; there are: key-1"),
    "no reason": ("key-1", {"reason": " "}, "give --reason"),
    "a stranger": ("key-1", {"actor": "nobody"}, "nobody is none of the people"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_a_campaign_that_cannot_be_is_refused(desk: Desk, case: tuple[str, dict[str, str], str]) -> None:
    key, said, message = case
    with pytest.raises(Terminal, match=message):
        reissue(desk, key, **said)
    assert desk.value("select count(*) from ledger.plan where kind = 'reissue'") == 0


def test_plans_that_a_lost_key_would_have_signed_are_set_aside_and_made_again(desk: Desk) -> None:
    day = AS_OF.date().replace(day=3)
    desk.offer([passed(key) for key in "CD"], day=day)
    desk.plan(day, datetime(2026, 3, 3, tzinfo=UTC))
    [half] = open_plans(desk.engine)
    first = [True]

    def once(as_of: datetime) -> Any:
        if not first.pop():
            raise KeyboardInterrupt
        first.append(False)
        return desk.signer(as_of)

    with pytest.raises(KeyboardInterrupt):
        desk.apply(half, signer_at=once, chunk=1)
    lose(desk)
    assert open_plans(desk.engine) == []
    assert desk.issue(day, NOW, now=NOW) == 1, "the line that was left, by the next key"
    assert reissue(desk) is not None
    assert apply_all(desk) == 4


def test_killed_between_chunks_a_campaign_comes_to_the_same(new_desk: Callable[..., Desk], desk: Desk) -> None:
    lose(desk)
    reissue(desk)
    apply_all(desk)
    other = new_desk(desk.institution)
    other.offer([passed("A"), passed("B"), passed("A", "safety", done="2026-02-10")])
    # The other ledger issues with key-1 at its time too: the directory is shared and knows of the loss by now.
    marker = other.secrets.path / "key-1.compromised.json"
    kept = marker.read_bytes()
    marker.unlink()
    other.issue()
    marker.write_bytes(kept)
    reissue(other)
    left = [1]

    def dying(as_of: datetime) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return other.signer(as_of)

    for _ in range(2):
        left[0] = 1
        with pytest.raises(KeyboardInterrupt):
            apply_all(other, signer_at=dying, chunk=1)
    apply_all(other, chunk=1)
    assert other.documents() == desk.documents()
    assert states(other) == states(desk)


def test_campaigns_are_listed_with_what_is_open(desk: Desk) -> None:
    lose(desk)
    stored = reissue(desk)
    assert stored is not None
    [found] = campaigns(desk.engine)
    assert (found.plan_id, found.kind, found.scope, found.open) == (stored.plan_id, "reissue", "key:key-1", 3)
    apply_all(desk)
    [done] = campaigns(desk.engine)
    assert (done.open, done.state) == (0, "applied")
    assert replace(done, open=3, state="approved") == found

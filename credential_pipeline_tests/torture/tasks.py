"""What has to be done in a month of the academy, in order: each task can be repeated, by anybody, at any time.

Belongs here: the tasks, as the stages' own functions with a run id of whoever calls them. Does not belong here: who
does them, and who is killed meanwhile (nursery.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.institution import Institution
from credential_pipeline.issue.apply import apply_approved
from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.change import Office, Order, change
from credential_pipeline.issue.correct import Correction, correct
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.holds import Choice, decide_holds, find_holds
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.issue.select import Named, Query
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.renew.due import remind, windows
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.store.objects import ObjectStore
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import signer_at
from credential_pipeline_tests.issue.signers import PIA, RITA
from credential_pipeline_tests.torture.academy import Month, Wanted

CHUNK = 3
"""Lines a transaction, so that a plan of a dozen lines is several."""
WHOLE = 100
"""For revocations. Given again when half of it is done, the order becomes another plan, about the other half, and the
first one is set aside: the same outcome by other plans, which could not be compared."""
SENT = 5
"""Objects sent at once."""


@dataclass(frozen=True)
class Hands:
    """What a process works with. `targets`: what opens each, by its name in the manifest, the first one first."""

    engine: Engine
    institution: Institution
    secrets: SecretsDirectory
    data: Path
    targets: Mapping[str, Callable[[], ObjectStore]]
    run_id: str

    @property
    def office(self) -> Office:
        return Office(self.engine, self.institution, self.secrets, self.signer)

    def signer(self, as_of: datetime) -> Signer:
        return signer_at(self.secrets, self.institution.issuer_did, as_of)

    def order(self, kind: str, month: Month, reason: str) -> Order:
        return Order(kind, reason, PIA.id, month.as_of, self.run_id)


def land(hands: Hands, month: Month) -> None:
    for dataset in hands.institution.datasets:
        extract_dataset(hands.engine, dataset, hands.data, month.day, hands.run_id)


def gate(hands: Hands, month: Month) -> None:
    for dataset in hands.institution.datasets:
        gate_dataset(hands.engine, hands.institution, dataset, month.day, hands.run_id)


def identify(hands: Hands, month: Month) -> None:
    identify_batch(hands.engine, hands.institution, month.day, hands.run_id)


def plan(hands: Hands, month: Month) -> None:
    earn_batch(hands.engine, hands.institution, month.day, hands.run_id)
    plan_day(hands.engine, hands.institution, hands.secrets, month.day, month.as_of, hands.run_id)


def apply(hands: Hands, month: Month) -> None:
    """Whatever is approved, also what somebody left who was killed; but for renewals, which have their own task."""
    with hands.engine.connect() as connection:
        approved = connection.execute(
            text(
                "select plan_id, kind from ledger.plan where state = 'approved' and kind <> 'renew'"
                " order by recorded_at, plan_id"
            )
        ).all()
    for plan_id, kind in approved:
        done = apply_approved(
            hands.engine, hands.institution, hands.secrets, hands.signer, hands.run_id,
            now=month.as_of, plan_ids=[plan_id], chunk=WHOLE if kind == "revoke" else CHUNK,
        )  # fmt: skip
        assert not done.refused, done.refused


def sign(hands: Hands, month: Month) -> None:
    """An approver signs the plans that wait."""
    waiting = "select plan_id, hash from ledger.plan where approval = 'four_eyes' and state = 'planned'"
    with hands.engine.connect() as connection:
        plans = connection.execute(text(f"{waiting} order by recorded_at, plan_id")).all()
    for plan_id, digest in plans:
        try:
            approve(
                hands.engine, hands.institution, plan_id, RITA.id, RITA.sign_plan(digest), month.as_of, hands.run_id
            )
        except Terminal:
            # Somebody else signed and applied it between our look and our signature.
            with hands.engine.connect() as connection:
                state = connection.scalar(text("select state from ledger.plan where plan_id = :p"), {"p": plan_id})
            if state != "applied":
                raise


def release(hands: Hands, month: Month) -> None:
    """A registrar lets go what was held for the digits in a name."""
    awards = [one.award_id for one in find_holds(hands.engine, Choice(reason="name_with_digits", action="create"))]
    if awards:
        decide_holds(
            hands.engine, hands.institution, Choice(awards, action="create"), "released",
            actor=PIA.id, reason="that is the name", now=month.as_of, run_id=hands.run_id,
        )  # fmt: skip


def revoke(hands: Hands, month: Month) -> None:
    change(hands.office, hands.order("revoke", month, "exam annulled"), [_named(hands, month.revoked)])


def annul(hands: Hands, month: Month) -> None:
    """More than one person may let through alone: all knots of an earlier month."""
    if month.annulled is not None:
        change(
            hands.office,
            hands.order("revoke", month, "course annulled"),
            query=Query(("knots",), month.annulled.day.replace(day=1), month.annulled.day),
        )


def suspend(hands: Hands, month: Month) -> None:
    change(hands.office, hands.order("suspend", month, "under investigation"), [_named(hands, month.suspended)])


def reinstate(hands: Hands, month: Month) -> None:
    """Whom the month before suspended."""
    if month.before is not None:
        names = [_named(hands, month.before.suspended)]
        change(hands.office, hands.order("reinstate", month, "found in order"), names)


def correct_two(hands: Hands, month: Month) -> None:
    corrections = [
        Correction(_named(hands, one), name=f"Right {'Own' if n else 'New'} Name", results={"score": "99"})
        for n, one in enumerate(month.corrected)
    ]
    correct(hands.office, hands.order("correct", month, "regraded"), corrections)


def plan_renewals(shard: int) -> Task:
    def planning(hands: Hands, month: Month) -> None:
        of = windows(month.window)[shard]
        remind(hands.engine, hands.institution, of, month.as_of)
        plan_window(
            hands.engine, hands.institution, hands.secrets, of, month.as_of, hands.run_id, four_eyes=not shard
        )  # fmt: skip

    return planning


def renew(shard: int) -> Task:
    def renewing(hands: Hands, month: Month) -> None:
        of = windows(month.window)[shard]
        apply_window(
            hands.engine, hands.institution, hands.secrets, hands.signer, of, hands.run_id,
            now=month.as_of, chunk=CHUNK,
        )  # fmt: skip

    return renewing


def publish_at(position: int) -> Task:
    """Publish at the n-th target, where there is one."""

    def publishing(hands: Hands, month: Month) -> None:
        for target, store in list(hands.targets.items())[position : position + 1]:
            publish(
                hands.engine, hands.institution, store(), target, hands.signer(month.as_of),
                recorded_keys(hands.engine, hands.institution), month.as_of, hands.run_id, chunk=SENT,
            )  # fmt: skip

    return publishing


Task = Callable[[Hands, Month], None]

SHARDS = range(4)

# A credential is published before anything else happens to it, and a suspension is lifted in another month: so what
# a straggler repeats, long after others have gone on, comes to the same in every order.
AGENDA: tuple[tuple[str, Task], ...] = (
    ("land", land),
    ("gate", gate),
    ("identify", identify),
    ("plan", plan),
    ("apply", apply),
    ("approve", sign),
    ("apply", apply),
    ("hold", release),
    ("plan", plan),
    ("apply", apply),
    ("approve", sign),
    ("apply", apply),
    ("publish", publish_at(0)),
    ("change", revoke),
    ("change", suspend),
    ("change", reinstate),
    ("change", correct_two),
    ("change", annul),
    ("approve", sign),
    ("apply", apply),
    ("publish", publish_at(0)),
    *(("renew", plan_renewals(shard)) for shard in SHARDS),
    ("approve", sign),
    *(("renew", renew(shard)) for shard in SHARDS),
    ("publish", publish_at(0)),
    # The event `published` names the first target: another one comes when all stands there.
    ("publish", publish_at(1)),
)
"""The tasks of a month, each with the stage it is counted under."""


def _named(hands: Hands, wanted: Wanted) -> Named:
    with hands.engine.connect() as connection:
        credential = connection.scalar(
            text(
                "select c.credential_id from ledger.credential c join ledger.award w using (award_id)"
                " join identity.source_record r on r.person_id = w.person_id where c.cause = 'issue'"
                " and c.achievement = :achievement and w.occurrence = :term and r.source_key = :key"
            ),
            {"achievement": wanted.achievement, "term": wanted.term, "key": f"lms:{wanted.person}"},
        )
    return Named(str(credential), f"{wanted.person}, {wanted.achievement}")

"""Changes to credentials that exist: an order of a person becomes a plan, and a small plan is carried out at once.

Belongs here: what all changes share (the plan that stands, who may let it through, what came of it), and the moves
revoke, suspend and reinstate. Does not belong here: which credentials (select.py), corrections (correct.py), how a
state changes (states.py) and approvals by signature (approve.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import credential_url
from credential_pipeline.issue import plans
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.chunks import MOVING
from credential_pipeline.issue.lines import Line
from credential_pipeline.issue.plans import ISSUING_LOCK, LINES_AT_ONCE, Header, Stored
from credential_pipeline.issue.reasons import refuse_naming_in_plan
from credential_pipeline.issue.select import Named, Query, choose
from credential_pipeline.issue.states import MOVES, Move, why_not
from credential_pipeline.store.postgres import named_lock, transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory

CHANGING_LOCK = "changing credentials"
"""Held from planning a change to carrying it out: two orders about one credential come one after the other."""

SHOWN = 20
"""Lines of a plan that are shown to a person; the counts say what there is."""

ASKED_FOR = "asked_for"


@dataclass(frozen=True)
class Office:
    """Where changes are made: the ledger, the institution, its secrets, and who signs at an instant."""

    engine: Engine
    institution: Institution
    secrets: SecretsDirectory
    signer_at: Callable[[datetime], Signer]


@dataclass(frozen=True)
class Order:
    """What somebody wants: the kind of plan, why, who says so, and the instant it is dated with."""

    kind: str
    reason: str
    actor: str
    as_of: datetime
    run_id: str
    dry_run: bool = False


@dataclass(frozen=True)
class Shown:
    """A line of a plan as a person reads it. `changes`: member -> (before, after), of a correction."""

    credential_id: UUID
    url: str
    achievement: str
    before: str
    after: str
    changes: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """What an order comes to, before it is a plan.

    Attributes:
        scope: how the credentials were selected, without personal data.
        doing: lines that would change something.
        lines: makes the plan's lines; called once for each plan that is tried.
        already: credentials that are as they should be: a replay.
        refused: why some cannot be changed -> how many.
        counts: (achievement, before, after) -> how many.
        shown: the first lines.
        four_eyes: the plan needs signatures, however small it is.
    """

    scope: str
    doing: int
    lines: Callable[[], Iterable[Line]]
    already: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    shown: Sequence[Shown] = ()
    four_eyes: bool = False


State = Literal["nothing", "dry_run", "waiting", "applied"]


@dataclass(frozen=True)
class Changed:
    """What came of an order.

    Attributes:
        state: nothing to do | dry_run, nothing was stored | waiting for signatures | applied.
        draft: what it was about.
        plan_id: the plan; None when there was nothing to do.
        hash: the plan's hash, which an approval binds to.
        done: credentials changed by the plan, by this call or by another one that carried it out.
        stale: lines that were not done, because their credential changed in the meantime.
        replaced: a plan about the same credentials that this one took the place of.
    """

    state: State
    draft: Draft
    plan_id: UUID | None = None
    hash: bytes | None = None
    done: int = 0
    stale: int = 0
    replaced: UUID | None = None

    @property
    def in_order(self) -> bool:
        """Whether all that was asked for is so, or waits."""
        return not self.draft.refused and not self.stale


def change(office: Office, order: Order, names: Sequence[Named] = (), query: Query | None = None) -> Changed:
    """Revoke, suspend or reinstate (`order.kind`) credentials, by their names or by a query.

    Up to `policies.direct_change_limit` the actor lets it through and it is done; beyond, the plan waits for
    signatures. A replay finds the plan that stands, or everything done already.

    Raises:
        Terminal: an unknown name, nothing of it can be done, or the actor may not.
    """
    return carry_out(office, order, lambda connection: _moves(connection, office.institution, order, names, query))


def carry_out(office: Office, order: Order, draft_of: Callable[[Connection], Draft]) -> Changed:
    """Plan what `draft_of` finds, and apply it when the plan is small enough for one person to let through."""
    if not order.reason.strip() or not order.actor.strip():
        raise Terminal("a change needs a reason and an actor: give --reason TEXT and --actor ID")
    with office.engine.connect() as guard, named_lock(guard, CHANGING_LOCK):
        planned = None
        while planned is None:
            with office.engine.connect() as connection:
                planned = _plan(connection, office.institution, order, draft_of)
                if planned is None or planned.state == "dry_run":
                    connection.rollback()
                else:
                    connection.commit()
        if planned.state == "dry_run":
            return planned
        if planned.state != "applied" or planned.plan_id is None:
            return planned
        _apply(office, order, planned.plan_id)
    return _came_to(office.engine, planned)


def _plan(
    connection: Connection, institution: Institution, order: Order, draft_of: Callable[[Connection], Draft]
) -> Changed | None:
    """None: what was to be done has been done by somebody else since it was looked at; look again."""
    transaction_lock(connection, ISSUING_LOCK)
    draft = draft_of(connection)
    if not draft.doing:
        if draft.refused and not draft.already:
            raise Terminal("; ".join(draft.refused) + ". Nothing was done")
        return Changed("nothing", draft)
    alone = draft.doing <= institution.policies.direct_change_limit and not draft.four_eyes
    if alone:
        _refuse_stranger(institution, order.actor)
    plans.record_catalogue(connection, institution, order.run_id)
    header = Header(
        order.kind, draft.scope, order.as_of, "auto" if alone else "four_eyes", order.actor, order.reason.strip()
    )
    stored, replaced = _store(connection, institution, header, draft, order.run_id)
    if stored is None:
        return None
    refuse_naming_in_plan(connection, stored.plan_id, order.reason, order.actor)
    if stored.new:
        record_action(
            connection,
            f"{order.kind}_planned",
            f"plan:{stored.plan_id}",
            order.actor,
            order.run_id,
            reason=header.reason,
            detail={"scope": draft.scope, "counts": stored.counts, "approval": header.approval},
        )
    if alone:
        plans.approve_by_actor(connection, stored.plan_id, order.actor)
        _decide_holds(connection, stored.plan_id, order)
    state: State = "dry_run" if order.dry_run else "applied" if alone else "waiting"
    return Changed(state, draft, stored.plan_id, stored.hash, replaced=replaced)


def _refuse_stranger(institution: Institution, actor: str) -> None:
    people = {person.id for person in institution.people}
    if people and actor not in people:
        raise Terminal(
            f"{actor} is none of the people of institution.yaml ({', '.join(sorted(people))}): only they let a change "
            "through. Nothing was done"
        )


def _store(
    connection: Connection, institution: Institution, header: Header, draft: Draft, run_id: str
) -> tuple[Stored | None, UUID | None]:
    """The plan that stands (with its own as_of), or a new one that takes its place; and the one replaced.

    None: a plan that was carried out since the draft was made, such as a renewal, took all of its lines.
    """
    before = plans.not_begun(connection, header)
    if before is not None:
        again = replace(header, as_of=before.as_of)
        stands = plans.store_plan(connection, institution, again, draft.lines(), run_id, only=before.plan_id)
        if stands is not None:
            return stands, None
        plans.set_aside(connection, before.plan_id)
    stored = plans.store_plan(connection, institution, header, draft.lines(), run_id)
    return stored, before.plan_id if before else None


def _decide_holds(connection: Connection, plan: UUID, order: Order) -> None:
    """Who does what a hold waits for has decided it: a duplicate after a merge that is revoked now.

    Also where somebody had rejected that before: this is the later decision.
    """
    connection.execute(
        text(
            "update ledger.hold h set state = 'released', decided_by = :actor, decided_at = clock_timestamp(),"
            " decision_reason = :reason from ledger.plan_line l where l.plan_id = :plan and l.state = 'planned'"
            " and h.award_id = l.award_id and h.cause = l.cause and h.action = l.action and h.state <> 'released'"
        ),
        {"plan": plan, "actor": order.actor, "reason": order.reason.strip()},
    )


def _apply(office: Office, order: Order, plan: UUID) -> None:
    try:
        apply_plan(
            office.engine, office.institution, office.secrets, office.signer_at, plan, order.run_id, now=order.as_of
        )  # fmt: skip
    except Terminal:
        # It was let through on the spot: what cannot be done now must not be tried by tomorrow's run.
        with office.engine.begin() as connection:
            plans.set_aside(connection, plan)
        raise


def _came_to(engine: Engine, planned: Changed) -> Changed:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select state, count(*) from ledger.plan_line"
                " where plan_id = :plan and action not in ('hold', 'skip') group by 1"
            ),
            {"plan": planned.plan_id},
        )
        states = {state: number for state, number in rows}
    done = states.pop("applied", 0)
    return replace(planned, done=done, stale=sum(states.values()))


CHOSEN = """
from chosen
join ledger.credential c using (credential_id)
join ledger.credential_state s using (credential_id)
join ledger.status_list l using (list_number)
left join ledger.credential n on n.credential_id = s.superseded_by
"""


def _moves(
    connection: Connection, institution: Institution, order: Order, names: Sequence[Named], query: Query | None
) -> Draft:
    to = MOVING[order.kind]
    states = [state for state, ways in MOVES.items() if to in ways]
    scope = choose(connection, names, query or Query(), states=states)
    counts: Counter[tuple[str, str, str]] = Counter()
    refused: Counter[str] = Counter()
    already = 0
    for achievement, state, purpose, successor, number in connection.execute(
        text(
            "select c.achievement, s.state, l.purpose, n.public_id, count(*)"
            f" {CHOSEN} group by 1, 2, 3, 4 order by 1, 2, 3, 4"
        )
    ):
        if state == to:
            already += number
        elif why := _why_not(institution, state, purpose, to, successor):
            refused[why] += number
        else:
            counts[achievement, state, to] += number
    shown = [
        Shown(row.credential_id, credential_url(institution, row.public_id), row.achievement, row.state, to)
        for row in connection.execute(
            text(
                f"select c.credential_id, c.public_id, c.achievement, s.state {CHOSEN}"
                " where s.state = any(:states) and (:to <> 'suspended' or l.purpose = 'suspension')"
                " order by position limit :shown"
            ),
            {"states": states, "to": to, "shown": SHOWN},
        )
    ]
    lines = lambda: _move_lines(connection, institution, order.kind, to)  # noqa: E731 - called once a plan
    return Draft(scope, counts.total(), lines, already, refused, counts, shown)


def _why_not(institution: Institution, state: str, purpose: str, to: str, successor: str | None) -> str | None:
    if state == "superseded" and successor is not None:
        address = credential_url(institution, successor)
        return f"it is superseded (and by that revoked); the version that took its place is {address}"
    return why_not(state, purpose, Move(UUID(int=0), to, ""))


def _move_lines(connection: Connection, institution: Institution, action: str, to: str) -> Iterator[Line]:
    rows = connection.execute(
        text(
            "select c.credential_id, c.award_id, c.cause, c.person_id, c.achievement, s.state, s.version, l.purpose,"
            f" n.public_id as successor {CHOSEN} order by position"
        ),
        execution_options={"yield_per": LINES_AT_ONCE},
    )
    for row in rows:
        if row.state == to:
            continue
        why = _why_not(institution, row.state, row.purpose, to, row.successor)
        yield Line(
            action="skip" if why else action,
            reasons=(why or ASKED_FOR,),
            inputs={"prior": f"{row.state}:{row.version}"},
            achievement=row.achievement,
            award_id=row.award_id,
            cause=row.cause,
            person_id=row.person_id,
            prior_id=row.credential_id,
        )

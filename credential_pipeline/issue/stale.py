"""A line is stale when something it cites changed after it was planned: its row, its person's records, its rule or
template, the credential it is about.

Belongs here: finding stale lines and saying what changed. Does not belong here: planning again (plan.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue.plans import Stale
from credential_pipeline.store.postgres import integers

# What a line cites is in `inputs`: hashes of the row's fields and of the person's records, the achievement's version
# and the state of the credential before. A line that does not cite something does not go stale by it. One query for
# each thing cited, joined and not asked line by line; `offset 0` and `+ 0` hold the planner to looking up by key,
# whatever it knows of the tables: else it reads one of them for each line.
LINES = """
with line as materialized (
  select l.ordinal, l.action, l.award_id, l.cause, l.person_id, l.row_id, l.prior_id, l.inputs
  from ledger.plan_line l where l.plan_id = :plan and l.state = 'planned' {these}
)
"""

CHANGED = (
    """
select l.ordinal, 'the decision about its hold'
from line l join ledger.hold h on h.award_id = l.award_id and h.cause = l.cause and h.action = l.action
where h.state = 'rejected'
""",
    """
select l.ordinal, 'its row'
from line l left join accepted.row a on a.row_id = l.row_id
where l.action = 'create' and l.inputs ? 'fields'
  and encode(a.fields_hash, 'hex') is distinct from l.inputs->>'fields'
""",
    """
select l.ordinal, 'its person''s records'
from line l left join lateral (
  select array_agg(encode(r.fields_hash, 'hex') order by r.fields_hash) as hashes
  from identity.source_record r where r.person_id = l.person_id) r on true
where l.inputs ? 'records' and l.inputs->'records' <> to_jsonb(coalesce(r.hashes, '{}'))
""",
    """
select distinct l.ordinal, 'what its renewal requires'
from line l cross join lateral jsonb_array_elements(l.inputs->'requires') q
where l.inputs ? 'requires' and not exists (
  select from (select r.source_key from identity.source_record r where r.person_id = l.person_id offset 0) k
  cross join lateral (
    select y.row_id, y.dataset, y.fields_hash from accepted.row y where y.source_key = k.source_key offset 0) x
  where x.fields_hash = decode(q->>'fields', 'hex') and (not (q->>'newest')::boolean or exists (
    select from landed.file_row f join landed.batch_file b on b.file_id = f.file_id + 0
    where f.row_id = x.row_id and b.dataset = x.dataset
      and b.day = (select max(n.day) from landed.batch_file n where n.dataset = x.dataset))))
""",
    """
select distinct l.ordinal, 'the credits its renewal requires'
from line l cross join lateral jsonb_array_elements_text(l.inputs->'credits') q(award)
where l.inputs ? 'credits' and not exists (
  select from ledger.credential x where x.award_id = q.award::uuid and (
    select y.state from ledger.credential_state y where y.credential_id = x.credential_id) = 'current')
""",
    """
select l.ordinal, 'its credential'
from line l left join ledger.credential_state s on s.credential_id = l.prior_id
where l.inputs ? 'prior' and l.inputs->>'prior' is distinct from s.state || ':' || s.version
""",
)
"""What changed, by the lines of it; of several things about a line, the first is told."""


def _changed(connection: Connection, plan_id: UUID, ordinals: Sequence[int] | None = None) -> dict[int, str]:
    """What changed of each open line of a plan, or of these, that is stale."""
    these = "" if ordinals is None else "and l.ordinal = any(:ordinals)"
    parameters = {"plan": plan_id} if ordinals is None else {"plan": plan_id, "ordinals": integers(ordinals)}
    # In one statement, so that the lines are read once: 10 us a line in six, 6 in one.
    asked = " union all ".join(
        f"select {rank} as rank, x.* from ({query}) x(ordinal, changed)" for rank, query in enumerate(CHANGED)
    )
    found: dict[int, str] = {}
    for _, ordinal, changed in sorted(connection.execute(text(LINES.format(these=these) + asked), parameters)):
        found.setdefault(ordinal, changed)
    return found


def hold_stale(connection: Connection, plan_id: UUID, ordinals: Sequence[int]) -> set[int]:
    """Hold those of these lines that are stale; returns their ordinals. For plans that need no four eyes."""
    held = set(_changed(connection, plan_id, ordinals))
    if held:
        connection.execute(
            text(
                "update ledger.plan_line set state = 'held', reasons = reasons || '[\"stale\"]'"
                " where plan_id = :plan and ordinal = any(:ordinals)"
            ),
            {"plan": plan_id, "ordinals": list(held)},
        )
        connection.execute(
            text(
                "insert into ledger.hold as h (award_id, cause, action, reasons, state, plan_id)"
                " select award_id, cause, action, '[\"stale\"]', 'waiting', plan_id from ledger.plan_line"
                " where plan_id = :plan and ordinal = any(:ordinals)"
                " on conflict (award_id, cause, action) do update set reasons = excluded.reasons, state = 'waiting',"
                "   plan_id = excluded.plan_id where h.state <> 'rejected'"
            ),
            {"plan": plan_id, "ordinals": list(held)},
        )
    return held


def stale_lines(connection: Connection, plan_id: UUID, catalogue: Catalogue) -> list[tuple[int, str]]:
    """(ordinal, what changed) of every open line of a plan that is stale, by the catalogue as it is now."""
    found = list(_changed(connection, plan_id).items())
    versions = {achievement.id: achievement.version for achievement in catalogue.achievements.values()}
    cited = connection.execute(
        text(
            "select achievement, inputs->>'achievement', min(ordinal) from ledger.plan_line"
            " where plan_id = :plan and state = 'planned' and inputs ? 'achievement' group by 1, 2"
        ),
        {"plan": plan_id},
    )
    found += [
        (ordinal, f"achievement {achievement} in the catalogue")
        for achievement, version, ordinal in cited
        if versions.get(achievement) != version
    ]
    return sorted(found)


def refuse_stale(connection: Connection, plan_id: UUID, catalogue: Catalogue) -> None:
    """Refuse a plan as a whole when one of its open lines is stale; lines that are done are done.

    Raises:
        Stale: what changed, and that it has to be planned and approved again.
    """
    if found := stale_lines(connection, plan_id, catalogue):
        told = "; ".join(f"line {ordinal}: {changed} changed" for ordinal, changed in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise Stale(
            f"plan {plan_id} is stale, nothing more of it was applied: {told}{more}. "
            "Make the plan again (`credential-pipeline plan`), and have it approved as it is then"
        )

"""Reconciliation: do all sums hold, from rows through awards and credentials to objects, and if not, which items.

    landed = accepted + quarantined      accepted evidence = earning + skipped      earned = issued + held
    credentials = applied plan lines = states = first events = messages = published documents = published states

Belongs here: the scope, the sums and their result. Does not belong here: the single checks (reconcile_checks.py,
reconcile_objects.py). It only reads, in one snapshot, so a run that works at the same time makes no difference appear;
only objects that a publisher replaces meanwhile can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, text

from credential_pipeline.report.reconcile_checks import Difference, check_ledger, check_target
from credential_pipeline.report.reconcile_objects import (
    check_documents,
    check_listing,
    check_objects,
    check_status_bits,
)

__all__ = ["DatasetSum", "Difference", "Reconciliation", "reconcile"]

log = logging.getLogger(__name__)

SAMPLE = 1000
"""Documents and objects whose bytes are compared unless told otherwise: about 0.1 s of decompression."""


@dataclass(frozen=True)
class DatasetSum:
    """Rows of one dataset in the scope. `evidence`: its rows can earn something."""

    dataset: str
    evidence: bool
    landed: int
    accepted: int
    quarantined: int


@dataclass(frozen=True)
class Reconciliation:
    """The terms of the sums in a scope, and every difference; balanced when there is none.

    landed, accepted and quarantined count rows of evidence, `datasets` those of every dataset; erased_rows are those
    of the quarantined ones that were an erased person's. earned, issued and held count awards, merged ones once.
    credentials, erased and published count versions; published, in every target:
    credentials = published + erased.
    """

    day: date | None
    balanced: bool
    datasets: tuple[DatasetSum, ...]
    landed: int
    accepted: int
    quarantined: int
    earning: int
    skipped: int
    earned: int
    issued: int
    held: int
    credentials: int
    erased: int
    published: int
    documents_compared: int
    objects_compared: int
    erased_rows: int
    differences: tuple[Difference, ...]


def reconcile(
    engine: Engine,
    day: date | None = None,
    *,
    read_object: Callable[[str], bytes | None] | None = None,
    list_objects: Callable[[], Iterable[str]] | None = None,
    target: str | None = None,
    evidence: Sequence[str] | None = None,
    sample: int | None = SAMPLE,
    seed: int = 0,
) -> Reconciliation:
    """Compare every term of every sum, item by item.

    Args:
        engine: the ledger.
        day: the batch of this day and what was earned by it; None for all batches and everything issued.
        read_object: gives the bytes of a published path, or None; with it the manifest is compared with the objects
            and the status lists with the states. It is called from several threads.
        list_objects: gives the paths of all published objects; with it, and without a day, every object of the
            manifest must be there, and no other.
        target: the manifest's name of the target; None for all that the manifest knows.
        evidence: names of the datasets of evidence; None for those that a catalogue's rule or a decision names.
        sample: how many documents and objects to compare by their bytes; None for all.
        seed: which ones a sample takes.

    Returns:
        The counts and the differences. Ids in them are ids of rows, awards and credentials, never personal data.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        datasets = evidence if evidence is not None else _evidence_datasets(connection)
        _make_scope(connection, day, datasets)
        counts = _counts(connection)
        differences = check_ledger(connection, counts, overall=day is None)
        targets = [target] if target else _targets(connection)
        for name in targets or ["(no target)"]:
            differences += check_target(connection, counts, name, overall=day is None)
        published = _published(connection, targets)
        compared, found = check_documents(connection, sample, seed)
        differences += found
        objects, listed = 0, list_objects is not None and day is None
        if read_object is not None:
            for name in targets:
                checked, found = check_objects(connection, name, read_object, sample, seed, listed=listed)
                objects += checked
                differences += found
                differences += check_status_bits(connection, name, read_object)
        if list_objects is not None and listed:
            for name in targets:
                differences += check_listing(connection, name, list_objects())
        result = Reconciliation(
            day=day,
            balanced=not differences,
            datasets=_dataset_sums(connection),
            published=published,
            documents_compared=compared,
            objects_compared=objects,
            differences=tuple(differences),
            **{name: counts[name] for name in (
                "landed", "accepted", "quarantined", "earning", "skipped", "earned", "issued", "held", "credentials",
                "erased", "erased_rows",
            )},
        )  # fmt: skip
        connection.rollback()
    log.info("reconciled %s: %d differences", day or "everything", len(differences))
    return result


EVIDENCE = """
select rule->>'dataset' from ledger.catalogue_version,
  jsonb_path_query(catalogue, '$.programmes[*].achievements[*].earned_by[*]') as rule
union
select dataset from (select distinct dataset from landed.file) f where exists (
  select from accepted.row a join ledger.decision d using (row_id) where a.dataset = f.dataset)
"""

# Temporary tables: every check reads the same scope, and a million rows are joined once.
SCOPE = (
    """
create temporary table scope_row (
  row_id bigint primary key, dataset text, evidence boolean, accepted boolean, fields_hash bytea,
  reason boolean, open_reason boolean, erased boolean, empty boolean) on commit drop
""",
    """
insert into scope_row
select r.row_id, r.dataset, r.dataset = any(:evidence), a.row_id is not null, a.fields_hash,
       q.row_id is not null, coalesce(q.open, false), coalesce(r.problems ? 'erased', false), r.cells = '{}'
from (select distinct f.row_id from landed.file_row f join (
        select distinct file_id from landed.batch_file where cast(:day as date) is null or day = :day) b using (file_id)
     ) s
join landed.row r using (row_id)
left join accepted.row a using (row_id)
left join (select row_id, bool_or(resolved_at is null) as open from quarantine.reason group by row_id) q using (row_id)
""",
    "analyze scope_row",
    """
create temporary table scope_decision (
  row_id bigint primary key, decisions integer, earning boolean, contradictory boolean, stale boolean,
  incomplete boolean) on commit drop
""",
    """
insert into scope_decision
select s.row_id, count(d.row_id), coalesce(bool_or(d.outcome = 'earning'), false),
       coalesce(bool_or(d.achievement = '') and count(*) > 1, false),
       coalesce(bool_or(d.fields_hash <> s.fields_hash), false),
       coalesce(bool_or(case d.outcome when 'earning' then d.award_id is null
                                       when 'skipped' then d.reason is null end), false)
from scope_row s left join ledger.decision d using (row_id)
where s.evidence and s.accepted group by s.row_id
""",
    "analyze scope_decision",
    "create temporary table scope_award (award_id uuid primary key, issued boolean, held boolean) on commit drop",
    """
insert into scope_award
select w.award_id, c.credential_id is not null, h.award_id is not null
from (select distinct coalesce(w.duplicate_of, w.award_id) as award_id
      from scope_decision s join ledger.decision d using (row_id) join ledger.award w using (award_id)
      where d.outcome = 'earning') w
left join ledger.credential c on c.award_id = w.award_id and c.cause = 'issue'
left join ledger.hold h on h.award_id = w.award_id and h.cause = 'issue' and h.action = 'create'
  and h.state in ('waiting', 'rejected')
""",
    "analyze scope_award",
    "create temporary table scope_credential (credential_id uuid primary key, erased boolean) on commit drop",
)

CREDENTIALS = "insert into scope_credential select c.credential_id, c.document is null from ledger.credential c"
# A join, not `day is null or award_id in (...)`: below an OR the million awards would be searched once a credential.
CREDENTIALS_OF_DAY = (
    CREDENTIALS + " join ledger.award w using (award_id)"
    " join scope_award s on s.award_id = coalesce(w.duplicate_of, w.award_id)"
)

COUNTS = """
select (select count(*) from scope_row) as rows, r.*, d.*, w.*, c.*,
  (select count(*) from (select distinct c.list_number from scope_credential join ledger.credential c
     using (credential_id)) l) as lists
from (select count(*) as landed, count(*) filter (where accepted) as accepted,
        count(*) filter (where reason and not accepted) as quarantined,
        count(*) filter (where erased) as erased_rows from scope_row where evidence) r,
  (select count(*) filter (where earning) as earning,
        count(*) filter (where decisions > 0 and not earning) as skipped from scope_decision) d,
  (select count(*) as earned, count(*) filter (where issued) as issued,
        count(*) filter (where held and not issued) as held from scope_award) w,
  (select count(*) as credentials, count(*) filter (where erased) as erased,
        count(*) filter (where not erased) as living from scope_credential) c
"""


def _evidence_datasets(connection: Connection) -> Sequence[str]:
    return connection.scalars(text(EVIDENCE)).all()


def _make_scope(connection: Connection, day: date | None, evidence: Sequence[str]) -> None:
    parameters: Mapping[str, Any] = {"day": day, "evidence": list(evidence)}
    # The default of 4 MB would sort and hash a million rows on disk.
    connection.execute(text("set local work_mem = '64MB'"))
    for statement in (*SCOPE, CREDENTIALS_OF_DAY if day else CREDENTIALS, "analyze scope_credential"):
        connection.execute(text(statement), parameters)


def _counts(connection: Connection) -> Mapping[str, int]:
    return connection.execute(text(COUNTS)).one()._asdict()


def _targets(connection: Connection) -> list[str]:
    return list(connection.scalars(text("select distinct target from ledger.publication order by 1")))


def _published(connection: Connection, targets: Sequence[str]) -> int:
    """Credentials of the scope that stand in the manifest of every target."""
    return int(
        connection.scalar(
            text(
                "select count(*) from (select p.credential_id from ledger.publication p"
                " join scope_credential s using (credential_id)"
                " where p.kind = 'credential' and p.target = any(:targets)"
                " group by p.credential_id having count(distinct p.target) = cardinality(:targets)) everywhere"
            ),
            {"targets": list(targets)},
        )
        or 0
    )


def _dataset_sums(connection: Connection) -> tuple[DatasetSum, ...]:
    rows = connection.execute(
        text(
            "select dataset, evidence, count(*), count(*) filter (where accepted),"
            " count(*) filter (where reason and not accepted) from scope_row group by 1, 2 order by 1"
        )
    )
    return tuple(DatasetSum(*row) for row in rows)

"""The checks of a reconciliation that SQL alone can make: each finds the single items that break a sum.

Belongs here: one entry a check, with what to do about it. Does not belong here: the scope they share (reconcile.py).
A sum can hold by two errors that cancel each other; items cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

SHOWN = 5
"""Ids named in a difference; the count says how many there are."""


@dataclass(frozen=True)
class Difference:
    """A term that is not what it should be: how many were expected and found, which ones, and what to do."""

    term: str
    expected: int
    found: int
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.term}: {self.expected} expected, {self.found} found ({self.where}); {self.remedy}"


@dataclass(frozen=True)
class Check:
    """Items that break a term.

    Attributes:
        term: the term's name in a Difference.
        thing: what an id of `bad` names: row, award, credential, ...
        bad: a SELECT of column `id`, one row for each item that breaks the term.
        remedy: what to do.
        of: the count that a whole term would have; None where nothing should be found.
        overall: not bound to a day's scope, so run only over everything.
    """

    term: str
    thing: str
    bad: str
    remedy: str
    of: str | None = None
    overall: bool = False


RUN_AGAIN = "run the day again: it does what is missing"
RESTORE = "the ledger was changed by hand or restored in part: restore it whole from a backup"

LEDGER = (
    Check(
        "landed rows of a file", "file",
        "select f.file_id as id from landed.file f where exists (select from landed.file_row b"
        " join scope_row s using (row_id) where b.file_id = f.file_id)"
        " and f.row_count <> (select count(*) from landed.file_row r where r.file_id = f.file_id)",
        RESTORE,
    ),
    Check(
        "landed = accepted + quarantined", "row",
        "select row_id as id from scope_row where not accepted and not reason",
        "the gate has not judged them: " + RUN_AGAIN, of="rows",
    ),
    Check(
        "rows both accepted and quarantined", "row",
        "select row_id as id from scope_row where accepted and open_reason", RUN_AGAIN,
    ),
    Check(
        "accepted = earning + skipped", "row",
        "select row_id as id from scope_decision where decisions = 0",
        "the catalogue's rules were not asked about them: " + RUN_AGAIN, of="accepted",
    ),
    Check(
        "rows both skipped whole and decided otherwise", "row",
        "select row_id as id from scope_decision where contradictory", RESTORE,
    ),
    Check(
        "decisions on what a row said before", "row",
        "select row_id as id from scope_decision where stale", RUN_AGAIN,
    ),
    Check(
        "decisions without an award or a reason", "row",
        "select row_id as id from scope_decision where incomplete", RESTORE,
    ),
    Check(
        "earned = issued + held", "award",
        "select award_id as id from scope_award where not issued and not held",
        "they were earned and not issued: " + RUN_AGAIN, of="earned",
    ),
    Check(
        "awards both issued and held", "award",
        "select award_id as id from scope_award where issued and held",
        "find out from the events who issued them; reject or release the hold",
    ),
    Check(
        "credentials = applied plan lines", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential c using (credential_id)"
        " left join ledger.plan_line l on l.plan_id = c.plan_id and l.ordinal = c.ordinal"
        " where (l.action not in ('hold', 'skip') and l.state = 'applied' and l.credential_id = c.credential_id"
        "  and l.award_id = c.award_id and l.cause = c.cause) is not true",
        "issued without a plan that says so: find out from the events who did it", of="credentials",
    ),
    Check(
        "applied plan lines without a credential", "credential",
        "select l.credential_id as id from ledger.plan_line l where l.action = 'create' and l.state = 'applied'"
        " and not exists (select from ledger.credential c where c.plan_id = l.plan_id and c.ordinal = l.ordinal)"
        " and (:overall or exists (select from scope_award s where s.award_id = l.award_id))",
        RESTORE,
    ),
    Check(
        "open lines of applied plans", "credential",
        "select l.credential_id as id from ledger.plan_line l join ledger.plan p using (plan_id)"
        " where l.state = 'planned' and p.state = 'applied'"
        " and (:overall or exists (select from scope_award s where s.award_id = l.award_id))",
        RESTORE,
    ),
    Check(
        "credentials = approved", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential c using (credential_id)"
        " where c.plan_id not in (select p.plan_id from ledger.plan p join ledger.approval a"
        "  on a.plan_id = p.plan_id and a.plan_hash = p.hash and a.kind <> 'preparation')",
        "issued by a plan that nobody approved as it is: find out from the events who did it", of="credentials",
    ),
    Check(
        "credentials = states", "credential",
        "select s.credential_id as id from scope_credential s"
        " left join ledger.credential_state t using (credential_id) where t.credential_id is null",
        RESTORE, of="credentials",
    ),
    Check(
        "rows that name a credential which is not there", "credential",
        "select e.credential_id as id from ledger.event e where not exists ("
        "  select from ledger.credential c where c.credential_id = e.credential_id)"
        " union select m.credential_id from outbox.message m where not exists ("
        "  select from ledger.credential c where c.credential_id = m.credential_id)"
        " union select l.prior_id from ledger.plan_line l where l.prior_id is not null and not exists ("
        "  select from ledger.credential c where c.credential_id = l.prior_id)",
        RESTORE, overall=True,
    ),
    Check(
        "rows that name a person or an award which is not there", "person or award",
        "select c.person_id as id from ledger.credential c where not exists ("
        "  select from identity.person p where p.person_id = c.person_id)"
        " union select m.person_id from outbox.message m where not exists ("
        "  select from identity.person p where p.person_id = m.person_id)"
        " union select l.person_id from ledger.plan_line l where l.person_id is not null and not exists ("
        "  select from identity.person p where p.person_id = l.person_id)"
        " union select l.award_id from ledger.plan_line l where l.award_id is not null and not exists ("
        "  select from ledger.award w where w.award_id = l.award_id)",
        RESTORE, overall=True,
    ),
    Check(
        "credentials = issued events", "credential",
        "select s.credential_id as id from scope_credential s left join ledger.event e"
        " on e.credential_id = s.credential_id and e.seq = 1 and e.kind = 'issued' where e.event_id is null",
        RESTORE, of="credentials",
    ),
    Check(
        "gaps in the events of a credential", "credential",
        "select credential_id as id from scope_credential join ledger.event using (credential_id)"
        " group by credential_id having max(seq) - min(seq) + 1 <> count(*)",
        RESTORE,
    ),
    Check(
        "versions of states = events", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential_state t using (credential_id)"
        " left join ledger.event e on e.credential_id = s.credential_id"
        "  and e.kind in ('superseded', 'revoked', 'suspended', 'reinstated', 'withdrawn')"
        " group by s.credential_id, t.version having t.version <> 1 + count(e.event_id)",
        "a state changed without an event, or an event is gone: " + RESTORE, of="credentials",
    ),
    Check(
        "credentials = messages", "credential",
        "select s.credential_id as id from scope_credential s left join outbox.message m"
        " on m.credential_id = s.credential_id and m.kind = 'issued' where m.message_id is null and not s.erased",
        "their recipients would never be told: " + RESTORE, of="living",
    ),
    Check(
        "credentials = places in status lists", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential c using (credential_id)"
        " left join ledger.status_list l using (list_number)"
        " where l.list_number is null or c.status_index not between 0 and 131071",
        RESTORE, of="credentials",
    ),
    Check(
        "credentials that share a status index", "credential",
        "select credential_id as id from (select credential_id, count(*) over (partition by list_number, status_index)"
        "  as sharing from ledger.credential) p where sharing > 1"
        " and (:overall or exists (select from scope_credential s where s.credential_id = p.credential_id))",
        "revoking one would revoke the other: " + RESTORE,
    ),
    Check(
        "dictionaries of documents", "dictionary",
        "select substr(f.form, 6) as id from (select distinct document_form as form from ledger.credential"
        " where document is not null) f where f.form like 'zstd:%' and not exists (select from"
        " ledger.document_dictionary d where 'zstd:' || d.dictionary_id = f.form and sha256(d.content) = d.sha256)",
        "documents cannot be unpacked without them: " + RESTORE, overall=True,
    ),
)  # fmt: skip

ERASE_AGAIN = "erase that person again: it takes what is left"

ERASED = (
    Check(
        "erased rows are empty", "row",
        "select row_id as id from scope_row where erased and (accepted or not empty)", ERASE_AGAIN,
    ),
    Check(
        "erased documents = withdrawn credentials", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential_state t using (credential_id)"
        " where s.erased <> (t.state = 'withdrawn')",
        "a document is gone that nobody erased, or one is left of somebody who was: restore it, or " + ERASE_AGAIN,
    ),
    Check(
        "erased persons hold nothing", "person",
        "select e.person_id as id from ledger.erasure e where exists ("
        "  select from identity.source_record s where s.person_id = e.person_id)"
        " or exists (select from ledger.credential c where c.person_id = e.person_id and c.document is not null)",
        ERASE_AGAIN, overall=True,
    ),
)  # fmt: skip

PUBLISH = "publish again: it sends what is missing"

TARGET = (
    Check(
        "credentials = published documents", "credential",
        "select s.credential_id as id from scope_credential s left join ledger.publication p"
        " on p.target = :target and p.kind = 'credential' and p.credential_id = s.credential_id"
        " where not s.erased and p.path is null",
        PUBLISH, of="living",
    ),
    Check(
        "published documents = recorded documents", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential c using (credential_id)"
        " join ledger.publication p"
        " on p.target = :target and p.kind = 'credential' and p.credential_id = s.credential_id"
        " where p.digest <> c.document_sha256 or p.path <> 'credentials/' || c.public_id || '.json'",
        "what stands there was not issued: take it down, then " + PUBLISH,
    ),
    Check(
        "published JWTs = recorded JWTs", "credential",
        "select s.credential_id as id from scope_credential s join ledger.publication p"
        " on p.target = :target and p.kind = 'jwt' and p.credential_id = s.credential_id"
        " where not exists (select from ledger.credential_jwt j"
        "  where j.credential_id = s.credential_id and j.jwt_sha256 = p.digest)",
        "what stands there was not signed here: take it down, then " + PUBLISH,
    ),
    Check(
        "erased credentials still published", "credential",
        "select s.credential_id as id from scope_credential s join ledger.publication p"
        " on p.target = :target and p.kind in ('credential', 'jwt') and p.credential_id = s.credential_id"
        " where s.erased",
        "delete the object and its line in the manifest",
    ),
    Check(
        "credentials = published states", "credential",
        "select s.credential_id as id from scope_credential s join ledger.credential c using (credential_id)"
        " join ledger.credential_state t using (credential_id) left join ledger.publication p"
        " on p.target = :target and p.kind = 'state' and p.credential_id = s.credential_id"
        "  and p.path = 'state/' || c.public_id || '.json'"
        " where p.version is distinct from t.version",
        PUBLISH, of="credentials",
    ),
    Check(
        "published documents = published events", "credential",
        "select s.credential_id as id from scope_credential s join ledger.publication p"
        " on p.target = :target and p.kind = 'credential' and p.credential_id = s.credential_id"
        " where not exists ("
        "  select from ledger.event e where e.credential_id = s.credential_id and e.kind = 'published')",
        RESTORE,
    ),
    Check(
        "published objects of no credential", "object",
        "select p.kind || ' of credential ' || coalesce(p.credential_id::text, '(none)') as id"
        " from ledger.publication p left join ledger.credential c using (credential_id)"
        " where p.target = :target and p.kind in ('credential', 'jwt', 'state')"
        "  and (c.credential_id is null or p.path <> case p.kind when 'state' then 'state/' else 'credentials/' end"
        "   || c.public_id || case p.kind when 'jwt' then '.jwt' else '.json' end)",
        "nothing in the ledger stands behind them: take them down and find out who put them there", overall=True,
    ),
    Check(
        "status lists = published status lists", "status list",
        "select l.list_number as id from ledger.status_list l left join ledger.publication p"
        " on p.target = :target and p.path = 'status/' || l.list_number || '.json'"
        " where l.list_number in (select c.list_number from scope_credential join ledger.credential c"
        "  using (credential_id)) and (p.version is null or p.version > l.version)",
        PUBLISH, of="lists",
    ),
)  # fmt: skip


def check_ledger(connection: Connection, counts: Mapping[str, int], *, overall: bool) -> list[Difference]:
    """Every difference inside the ledger, in the order of the flow."""
    return _run(connection, LEDGER + ERASED, counts, overall, None)


def check_target(connection: Connection, counts: Mapping[str, int], target: str, *, overall: bool) -> list[Difference]:
    """Every difference between the ledger and the manifest of a target."""
    return _run(connection, TARGET, counts, overall, target)


def _run(
    connection: Connection, checks: tuple[Check, ...], counts: Mapping[str, int], overall: bool, target: str | None
) -> list[Difference]:
    differences = []
    for check in checks:
        if check.overall and not overall:
            continue
        number, ids = connection.execute(
            text(
                f"with bad as ({check.bad}) select (select count(*) from bad),"
                f" array(select id::text from bad order by id limit {SHOWN})"
            ),
            {"overall": overall, "target": target},
        ).one()
        if number:
            expected = counts[check.of] if check.of else 0
            found = expected - number if check.of else number
            where = named(check.thing, ids, number, target)
            differences.append(Difference(check.term, expected, found, where, check.remedy))
    return differences


def named(thing: str, ids: Sequence[str], number: int, target: str | None = None) -> str:
    """The first ids of a difference, and how many more there are."""
    more = f" and {number - len(ids)} more" if number > len(ids) else ""
    return f"{f'{target}: ' if target else ''}{thing} {', '.join(ids)}{more}"

"""Corrections: a new version of a credential that supersedes it; what is not corrected stays as it was.

Belongs here: what a corrected version says, and why a correction is refused. Does not belong here: how an order
becomes a plan and is carried out (change.py), and how the version before gives way (states.py, publish/).
"""

from __future__ import annotations

import hmac
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.achievement import ResultDescription
from credential_pipeline.credential.document import refuse_outside
from credential_pipeline.credential.text import BuildError
from credential_pipeline.credential.text import text as clean_text
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import add_period, day_of, start_of_day
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.describe import credential_url
from credential_pipeline.issue.change import SHOWN, Changed, Draft, Office, Order, Shown, carry_out
from credential_pipeline.issue.lines import Line
from credential_pipeline.issue.select import Named, column_of, find, rows_of, scope_of

RESULT = "result:"
"""The head of a CSV column with a result: `result:ID`."""


@dataclass(frozen=True)
class Correction:
    """What is right, of one credential; a member that is None, or a result that is not named, stays as it is.

    `valid_until`: the credential ends as this day begins, in the institution's time zone.
    """

    credential: Named
    name: str | None = None
    awarded_on: date | None = None
    valid_until: date | None = None
    results: Mapping[str, str] = field(default_factory=dict)


def correct(office: Office, order: Order, corrections: Sequence[Correction]) -> Changed:
    """Make the corrected versions, up to `policies.direct_change_limit` at once; more wait for signatures.

    A correction of an achievement with `approval: four_eyes` waits too: its credential would be issued by one person.

    Raises:
        Terminal: an unknown credential, a value that no credential may have, or nothing that can be corrected.
    """
    return carry_out(office, order, lambda connection: _draft(connection, office, order, corrections))


def corrections_of(path: Path, column: str | None = None) -> list[Correction]:
    """The corrections of a CSV file with a head: `credential`, and of `name, awarded_on, valid_until, result:ID` any.

    An empty cell keeps what is there.

    Raises:
        Terminal: a column that is none of these, or a day that is none, with file and line.
    """
    (where, head), *rows = rows_of(path) or [(str(path), [])]
    named = column_of(head, column, where)
    if named is None or not rows:
        raise Terminal(f"{path} corrects nothing: it needs a head with `credential` and what is corrected, and rows")
    members = {n: cell.lower() if not cell.startswith(RESULT) else cell for n, cell in enumerate(head) if n != named}
    for cell in members.values():
        if cell not in ("name", "awarded_on", "valid_until") and not cell.startswith(RESULT):
            raise Terminal(f"{where}: the column {cell!r} is none of name, awarded_on, valid_until, result:ID")
    return [_row(where, cells, named, members) for where, cells in rows]


def _row(where: str, cells: Sequence[str], named: int, members: Mapping[int, str]) -> Correction:
    given = {member: cells[n] for n, member in members.items() if n < len(cells) and cells[n]}
    if named >= len(cells) or not cells[named]:
        raise Terminal(f"{where}: no credential is named")
    days = {}
    for member in ("awarded_on", "valid_until"):
        if member in given:
            try:
                days[member] = date.fromisoformat(given[member])
            except ValueError:
                raise Terminal(f"{where}: {member} is not a day; write YYYY-MM-DD") from None
    results = {m.removeprefix(RESULT): value for m, value in given.items() if m.startswith(RESULT)}
    return Correction(Named(cells[named], where), given.get("name"), results=results, **days)


def correction_id(id_secret: bytes, credential: UUID, changed: Mapping[str, Any]) -> str:
    """What tells a correction from others: the version it is made of, and the members that it changes.

    64 bits of an HMAC: a plain hash would let whoever has the database confirm a guess of a name that was erased.
    """
    essence = json.dumps([str(credential), changed], ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hmac.digest(id_secret, b"correction\0" + essence.encode(), "sha256").hex()[:16]


STANDING = """
select c.credential_id, c.public_id, c.award_id, w.person_id, c.achievement, s.state, s.version, n.public_id as
  successor, l.facts, l.row_id
from ledger.credential c
join ledger.credential_state s using (credential_id)
join ledger.award w using (award_id)
join ledger.plan_line l on l.plan_id = c.plan_id and l.ordinal = c.ordinal
left join ledger.credential n on n.credential_id = s.superseded_by
where c.credential_id = any(:ids)
"""


def _draft(connection: Connection, office: Office, order: Order, corrections: Sequence[Correction]) -> Draft:
    institution = office.institution
    ids = find(connection, [one.credential for one in corrections])
    by_id: dict[UUID, Correction] = {}
    for one in corrections:
        uuid = ids[one.credential.name]
        if uuid in by_id:
            raise Terminal(
                f"{one.credential.where}: {by_id[uuid].credential.where} corrects the same credential; say everything "
                "about it in one place. Nothing was done"
            )
        by_id[uuid] = one
    standing = {row.credential_id: row for row in connection.execute(text(STANDING), {"ids": list(by_id)})}
    made = _made_before(connection, list(by_id))
    newest = office.secrets.secret("id")
    # A replay is found whichever version of the secret its first time was under.
    secrets = [newest.value, *(office.secrets.secret("id", n).value for n in range(newest.version - 1, 0, -1))]
    worked: list[_Worked] = []
    refused: Counter[str] = Counter()
    already = 0
    for uuid, one in by_id.items():
        row = standing[uuid]
        try:
            found = _work_out(institution, row, one, order.as_of, made, secrets)
        except _RefusedError as error:
            refused[f"{one.credential.where}: {error}" if len(corrections) > 1 else str(error)] += 1
            continue
        if found is None:
            already += 1
        else:
            worked.append(found)
    achievements = institution.catalogue.achievements
    return Draft(
        scope=scope_of(by_id),
        doing=len(worked),
        lines=lambda: _lines(worked, achievements),
        already=already,
        refused=refused,
        counts=Counter((one.row.achievement, "current", "corrected") for one in worked),
        shown=[_shown(institution, one) for one in worked[:SHOWN]],
        four_eyes=any(achievements[one.row.achievement].approval == "four_eyes" for one in worked),
    )


class _RefusedError(Exception):
    """Why a credential cannot be corrected like that; told to who asked, and stored nowhere."""


@dataclass(frozen=True)
class _Worked:
    row: Row[Any]
    facts: Mapping[str, Any]
    cause: str


def _made_before(connection: Connection, ids: Sequence[UUID]) -> set[tuple[UUID, str]]:
    """(award, cause) of all versions that the awards of these credentials have."""
    return {
        (award, cause)
        for award, cause in connection.execute(
            text(
                "select v.award_id, v.cause from ledger.credential v where v.award_id in ("
                " select award_id from ledger.credential where credential_id = any(:ids))"
            ),
            {"ids": ids},
        )
    }


def _work_out(
    institution: Institution,
    row: Row[Any],
    one: Correction,
    as_of: datetime,
    made: set[tuple[UUID, str]],
    secrets: Sequence[bytes],
) -> _Worked | None:
    """The corrected facts; None for a replay, whose version is there. `secrets`: those of ids, the newest first."""
    if row.facts is None:
        raise _RefusedError(f"it is {row.state}: what it said is no longer kept")
    achievement = institution.catalogue.achievements.get(row.achievement)
    if achievement is None:
        raise _RefusedError(f"achievement {row.achievement} has left the catalogue: put it back to issue a version")
    asked = _asked(institution, achievement, one)
    changed = {member: value for member, value in asked.items() if _said(row.facts, member) != value}
    causes = [f"correction:{correction_id(secret, row.credential_id, changed)}" for secret in secrets]
    if any((row.award_id, cause) in made for cause in causes):
        return None
    if row.state != "current":
        raise _RefusedError(_why_not_now(institution, row))
    if not changed:
        raise _RefusedError("nothing would change: it says all of that already")
    facts = _facts(institution, achievement, row.facts, changed)
    if why := _impossible(institution, achievement, facts, as_of):
        raise _RefusedError(why)
    return _Worked(row, facts, causes[0])


def _why_not_now(institution: Institution, row: Row[Any]) -> str:
    if row.state == "superseded" and row.successor:
        # Not followed by itself: members that are not given would come from a version that nobody looked at.
        return (
            f"it is superseded; correct the version that took its place: {credential_url(institution, row.successor)}"
        )
    if row.state == "suspended":
        return "it is suspended, and a corrected version would be current: reinstate it first, or revoke it"
    return f"it is {row.state}: only a current credential can be corrected"


def _asked(institution: Institution, achievement: Achievement, one: Correction) -> dict[str, str]:
    """Member -> value as facts have it; a result is `result:ID`."""
    asked: dict[str, str] = {}
    if one.name is not None:
        if institution.recipient.name == "omitted":
            raise _RefusedError("credentials of this institution show no name (recipient.name: omitted)")
        asked["name"] = unicodedata.normalize("NFC", one.name.strip())
        try:
            clean_text(asked["name"], "the name")
        except BuildError as error:
            raise _RefusedError(str(error)) from error
    if one.awarded_on is not None:
        asked["awarded_on"] = one.awarded_on.isoformat()
    if one.valid_until is not None:
        asked["valid_until"] = start_of_day(one.valid_until, institution.zone).isoformat()
    known = [result.id for result in achievement.results]
    for result, value in one.results.items():
        if result not in known:
            raise _RefusedError(f"{achievement.id} has no result {result!r}; it has {', '.join(known) or 'none'}")
        asked[f"{RESULT}{result}"] = value.strip()
    return asked


def _said(facts: Mapping[str, Any], member: str) -> str | None:
    if member.startswith(RESULT):
        result = member.removeprefix(RESULT)
        return next((shown["value"] for shown in facts.get("results", ()) if shown["id"] == result), None)
    said: str | None = facts.get(member)
    return said


def _facts(
    institution: Institution, achievement: Achievement, before: Mapping[str, Any], changed: Mapping[str, str]
) -> dict[str, Any]:
    plain = {member: value for member, value in changed.items() if not member.startswith(RESULT)}
    facts = {**before, **plain}
    results = {shown["id"]: shown["value"] for shown in before.get("results", ())}
    results |= {m.removeprefix(RESULT): value for m, value in changed.items() if m.startswith(RESULT)}
    if results:
        order = [result.id for result in achievement.results]
        facts["results"] = [{"id": r, "value": results[r]} for r in sorted(results, key=lambda r: _place(order, r))]
    # An end that counted from the day of the award counts from the right day; one that a renewal set stays.
    counted = _end(institution, achievement, before["awarded_on"])
    if "awarded_on" in plain and "valid_until" not in plain and counted and before.get("valid_until") == counted:
        facts["valid_until"] = _end(institution, achievement, plain["awarded_on"])
    return facts


def _place(order: Sequence[str], result: str) -> int:
    return order.index(result) if result in order else len(order)


def _end(institution: Institution, achievement: Achievement, awarded_on: str) -> str | None:
    if achievement.validity is None:
        return None
    ends = add_period(date.fromisoformat(awarded_on), achievement.validity)
    return start_of_day(ends, institution.zone).isoformat()


def _impossible(
    institution: Institution, achievement: Achievement, facts: Mapping[str, Any], as_of: datetime
) -> str | None:
    """Why no credential can say that, or None: the limits of plan lines (lines.py), without the doubts."""
    if date.fromisoformat(facts["awarded_on"]) > min(day_of(as_of, institution.zone), as_of.astimezone(UTC).date()):
        return "it would be awarded in the future"
    if "valid_until" in facts and datetime.fromisoformat(facts["valid_until"]) <= as_of:
        return "it would have ended already: give a later --valid-until, or renew it"
    described = {result.id: result for result in achievement.results}
    for shown in facts.get("results", ()):
        result = described.get(shown["id"])
        if result is None:
            return f"the catalogue no longer has its result {shown['id']!r}: put it back to issue a version"
        try:
            clean_text(shown["value"], f"the result {result.id}")
            refuse_outside(
                shown["value"],
                ResultDescription("", result.name, result.type, result.min, result.max, result.allowed_values),
            )
        except BuildError as error:
            return str(error)
    return None


def _lines(worked: Sequence[_Worked], achievements: Mapping[str, Achievement]) -> Iterator[Line]:
    for one in worked:
        achievement = achievements[one.row.achievement]
        yield Line(
            action="replace",
            reasons=("corrected", *_differing(one.row.facts, one.facts)),
            inputs={"prior": f"{one.row.state}:{one.row.version}", "achievement": achievement.version},
            achievement=achievement.id,
            award_id=one.row.award_id,
            credential_id=identifiers.credential_id(one.row.award_id, one.cause),
            cause=one.cause,
            person_id=one.row.person_id,
            row_id=one.row.row_id,
            facts=one.facts,
            purpose=achievement.status_purpose,
            prior_id=one.row.credential_id,
        )


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    members = ["name", "awarded_on", "valid_until"]
    results = dict.fromkeys(f"{RESULT}{r['id']}" for facts in (before, after) for r in facts.get("results", ()))
    return [member for member in (*members, *results) if _said(before, member) != _said(after, member)]


def _shown(institution: Institution, one: _Worked) -> Shown:
    changes = {
        member: (_said(one.row.facts, member), _said(one.facts, member))
        for member in _differing(one.row.facts, one.facts)
    }
    url = credential_url(institution, one.row.public_id)
    return Shown(one.row.credential_id, url, one.row.achievement, "current", "superseded", changes)

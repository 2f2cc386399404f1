"""One candidate award -> one plan line: what the credential would say, or why it has to wait.

Belongs here: pure decisions about a single award. Does not belong here: SQL (plan.py) and documents (apply.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.achievement import ResultDescription
from credential_pipeline.credential.document import refuse_outside
from credential_pipeline.credential.text import BuildError
from credential_pipeline.credential.text import url as clean_url
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import add_period, day_of, start_of_day
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.shown import ResultField

CAUSE_ISSUE = "issue"

APPROVAL_REQUIRED = "approval_required"
"""The reason of achievements with `approval: four_eyes`: a signed approval lifts it, nothing else does."""

NOT_FOR_RELEASE: Mapping[str, str] = {
    APPROVAL_REQUIRED: "have the plan that makes it approved and applied",
    "no_identifier": "complete the person at the source: a document without an identifier cannot be made",
    "result_outside_limits": "correct the row at the source, or the limits in the catalogue",
    "evidence_no_url": "correct the row at the source: evidence is shown by an http(s) URL",
    "awarded_after_as_of": "a later run issues it by itself",
    "validity_over": "it would have ended before it was issued: reject it",
    "stale": "the next plan looks at it again by itself",
    "suspended": "reinstate the credential first",
}
"""Reasons that no person can release, because no document could be made or somebody else has to decide; and what to
do instead."""

OF_THE_AWARD = ("results", "evidence", "narrative")
"""Facts that every later version of an award keeps: they are of what was earned, not of the person as they are now."""

# Whose spelling of a name a credential shows: a register before a payroll before a learner's own account.
SYSTEM_RANK = {"sis": 0, "hr": 1, "crm": 2, "lms": 3, "other": 4}


@dataclass(frozen=True)
class Candidate:
    """An award that has no credential yet, with the row that earned it and the person's source records."""

    award_id: UUID
    person_id: UUID
    achievement: str
    occurrence: str
    awarded_on: date
    row_id: int
    row_hash: bytes
    fields_hash: bytes
    fields: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    contested: bool
    alarms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Line:
    """A line of a plan; `facts` is what a create line will put into the credential."""

    action: str
    reasons: tuple[str, ...]
    inputs: Mapping[str, Any]
    achievement: str | None = None
    award_id: UUID | None = None
    credential_id: UUID | None = None
    cause: str | None = None
    person_id: UUID | None = None
    row_id: int | None = None
    facts: Mapping[str, Any] | None = None
    purpose: str | None = field(default=None)
    prior_id: UUID | None = None


def line_of(
    candidate: Candidate,
    achievement: Achievement,
    institution: Institution,
    as_of: datetime,
    lifted: Sequence[str] = (),
) -> Line:
    """A create line, or a hold line with every reason to wait but those that a person has `lifted`."""
    facts = _facts(candidate, achievement, institution)
    waits = _reasons_to_wait(candidate, achievement, institution, facts, as_of)
    reasons = tuple(reason for reason in waits if reason not in lifted)
    return Line(
        action="hold" if reasons else "create",
        reasons=reasons or ("earned",),
        inputs={
            "row": candidate.row_hash.hex(),
            "fields": candidate.fields_hash.hex(),
            "records": sorted(record["fields_hash"] for record in candidate.records),
            "achievement": achievement.version,
        },
        achievement=achievement.id,
        award_id=candidate.award_id,
        credential_id=identifiers.credential_id(candidate.award_id, CAUSE_ISSUE),
        cause=CAUSE_ISSUE,
        person_id=candidate.person_id,
        row_id=candidate.row_id,
        facts=facts,
        purpose=None if reasons else achievement.status_purpose,
    )


def _facts(candidate: Candidate, achievement: Achievement, institution: Institution) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "awarded_on": candidate.awarded_on.isoformat(),
        "occurrence": candidate.occurrence,
        **recipient_of(candidate.records, institution),
    }
    results = [
        {"id": result.id, "value": value}
        for result in achievement.results
        if (value := candidate.fields.get(result.field)) and value not in result.omit
    ]
    if results:
        facts["results"] = results
    evidence = [
        {"field": shown.field, "url": url}
        for shown in achievement.evidence
        if (url := candidate.fields.get(shown.field))
    ]
    if evidence:
        facts["evidence"] = evidence
    if achievement.narrative and (narrative := candidate.fields.get(achievement.narrative)):
        facts["narrative"] = narrative
    if achievement.validity:
        ends = add_period(candidate.awarded_on, achievement.validity)
        facts["valid_until"] = start_of_day(ends, institution.zone).isoformat()
    return facts


def recipient_of(records: Sequence[Mapping[str, Any]], institution: Institution) -> dict[str, Any]:
    """The facts about whom a credential is for: identifiers, and the name where credentials show it."""
    ranked = _by_rank(records, institution)
    facts: dict[str, Any] = {"identifiers": _identifiers(ranked, institution)}
    name = next((n for r in ranked if (n := _name(r))), None)
    if name and institution.recipient.name == "shown":
        facts["name"] = name
    return facts


def _by_rank(records: Sequence[Mapping[str, Any]], institution: Institution) -> list[Mapping[str, Any]]:
    if len(records) < 2:
        return list(records)
    rank = {source.id: SYSTEM_RANK[source.system] for source in institution.sources}
    return sorted(records, key=lambda r: (rank.get(r["source"], len(SYSTEM_RANK)), r["source_key"]))


def _name(record: Mapping[str, Any]) -> str | None:
    if record["full_name"]:
        return str(record["full_name"])
    return " ".join(part for part in (record["given_name"], record["family_name"]) if part) or None


def _identifiers(records: Sequence[Mapping[str, Any]], institution: Institution) -> list[dict[str, str]]:
    found = []
    for wanted in institution.recipient.identifiers:
        if wanted.source == "email":
            value = next((r["email"] for r in records if r["email"]), None)
        else:
            keys = (r["source_key"] for r in records if r["source"] == wanted.source)
            value = next((key.partition(":")[2] for key in keys), None)
        if value:
            found.append({"type": wanted.type, "value": value})
    return found


def _reasons_to_wait(
    candidate: Candidate,
    achievement: Achievement,
    institution: Institution,
    facts: Mapping[str, Any],
    as_of: datetime,
) -> tuple[str, ...]:
    name = facts.get("name", "")
    waits = {
        APPROVAL_REQUIRED: achievement.approval == "four_eyes",
        "identity_uncertain": candidate.contested,
        "no_identifier": not facts["identifiers"],
        "no_name": institution.recipient.name == "shown" and not name,
        "name_with_digits": any(map(str.isdigit, name)),
        "result_outside_limits": any(outside_limits(result, facts) for result in achievement.results),
        "evidence_no_url": evidence_no_url(facts),
        # A document says a day as its midnight in UTC, and east of Greenwich that can be after as_of.
        "awarded_after_as_of": candidate.awarded_on
        > min(day_of(as_of, institution.zone), as_of.astimezone(UTC).date()),
        # VC Data Model 2.0, 4.9: validUntil lies after validFrom.
        "validity_over": "valid_until" in facts and datetime.fromisoformat(facts["valid_until"]) <= as_of,
        # What only the rest of the batch shows (alarms.py), each switched on by a policy.
        "first_use_of_achievement": "first_use_of_achievement" in candidate.alarms,
        "contradicting_rows": "contradicting_rows" in candidate.alarms,
        "score_far_off": "score_far_off" in candidate.alarms,
        "too_many_for_one_person": "too_many_for_one_person" in candidate.alarms,
        "unusual_volume": "unusual_volume" in candidate.alarms,
    }
    return tuple(reason for reason, holds in waits.items() if holds)


def outside_limits(result: ResultField, facts: Mapping[str, Any]) -> bool:
    """Whether a value that would be shown breaks the limits the catalogue gives it: no document could be built."""
    value = next((shown["value"] for shown in facts.get("results", ()) if shown["id"] == result.id), None)
    if value is None:
        return False
    try:
        refuse_outside(
            value, ResultDescription("", result.name, result.type, result.min, result.max, result.allowed_values)
        )
    except BuildError:
        return True
    return False


def evidence_no_url(facts: Mapping[str, Any]) -> bool:
    """Whether evidence that would be shown is no URL, or twice the same: no document could be built."""
    urls = [shown["url"] for shown in facts.get("evidence", ())]
    try:
        for address in urls:
            clean_url(address, "evidence")
    except BuildError:
        return True
    return len(set(urls)) < len(urls)

"""Credentials inside a credential: the members of a learner record (CLR 2.0), and endorsements (Open Badges 3.0).

Belongs here: where they stand, how many and how deep, and what their verdicts mean for the one around them. Does not
belong here: the checks on each, which are those of any credential (verify.py).

What decides: a learner record is as good as its members, so the gravest verdict among them is its own, with one
exception: a member that has expired had its time, and is told. An endorsement is somebody else's opinion of what the
issuer has signed: one that does not hold is told, and takes nothing from the credential.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from credential_pipeline.credential.reading import Read
from credential_pipeline.credential.report import DECIDES, Member, Report, Trail, Verdict

MAX_MEMBERS = 500
"""Of one document, all levels together: each costs as much as a credential by itself."""
MAX_DEPTH = 3
"""A record that holds a record that holds an endorsed credential."""


@dataclass(slots=True)
class Embedded:
    """How far a verification has gone into a document; shared by all its levels."""

    seen: int = 0
    depth: int = 0


_ENVELOPE = "data:application/vc+jwt,"

Tell = Callable[[Trail, dict[str, Any], Embedded], None]


def tell_embedded(trail: Trail, credential: Read, embedded: Embedded, tell: Tell) -> None:
    """Verifies what is embedded in `credential` with `tell`, and adds the checks `members` and `endorsements`."""
    if credential.kind == "ClrCredential":
        members = list(_members(credential))
        _of_members(trail, _reports(trail, members, embedded, tell), len(members))
    if endorsements := list(_endorsements(credential)):
        _of_endorsements(trail, _reports(trail, endorsements, embedded, tell), len(endorsements))


def enveloped(document: dict[str, Any]) -> bytes | None:
    """The JWT in an EnvelopedVerifiableCredential (VC 2.0, 4.13); None for any other document."""
    types, place = document.get("type"), document.get("id")
    if types not in ("EnvelopedVerifiableCredential", ["EnvelopedVerifiableCredential"]) or not isinstance(place, str):
        return None
    return place.removeprefix(_ENVELOPE).encode("utf-8", "replace")


def _members(credential: Read) -> Iterator[tuple[str, dict[str, Any]]]:
    found = credential.document["credentialSubject"]["verifiableCredential"]
    for number, member in enumerate(found if isinstance(found, list) else [found]):
        yield f"credentialSubject.verifiableCredential[{number}]", member


def _endorsements(credential: Read) -> Iterator[tuple[str, dict[str, Any]]]:
    document = credential.document
    achievement = document["credentialSubject"].get("achievement")
    holders = {"": document, "issuer.": document["issuer"]}
    if isinstance(achievement, dict):
        holders["credentialSubject.achievement."] = achievement
    for where, holder in holders.items():
        found = holder.get("endorsement", [])
        for number, endorsement in enumerate(found if isinstance(found, list) else [found]):
            yield f"{where}endorsement[{number}]", endorsement


def _reports(
    trail: Trail, found: list[tuple[str, dict[str, Any]]], embedded: Embedded, tell: Tell
) -> list[tuple[str, Report]]:
    """The report on each of `found`, as far as the caps allow."""
    reports: list[tuple[str, Report]] = []
    if embedded.depth == MAX_DEPTH:
        return reports
    embedded.depth += 1
    for where, document in found:
        if embedded.seen == MAX_MEMBERS:
            break
        embedded.seen += 1
        inner = Trail()
        tell(inner, document, embedded)
        report = inner.report()
        trail.embeds(Member(where, str(document.get("id", ""))[:300], report))
        reports.append((where, report))
    embedded.depth -= 1
    return reports


def _of_members(trail: Trail, reports: list[tuple[str, Report]], there: int) -> None:
    evidence = _counted(reports, there)
    if len(reports) < there:
        trail.unknown("members", f"{there - len(reports)} members are too many or too deep and were not read", evidence)
        return
    for verdict in DECIDES:
        for where, report in reports:
            if report.verdict == verdict != "expired":
                _decided(trail, verdict, f"the member {where} is {verdict}: {report.reason}", evidence)
                return
    if expired := sum(report.verdict == "expired" for _, report in reports):
        trail.warned("members", f"{expired} of {there} members have expired, the others are valid", evidence)
    else:
        trail.passed("members", f"all {there} are valid", evidence)


def _decided(trail: Trail, verdict: Verdict, detail: str, evidence: dict[str, str]) -> None:
    if verdict == "unknown":
        trail.unknown("members", detail, evidence)
    else:
        trail.failed("members", detail, evidence, verdict)


def _of_endorsements(trail: Trail, reports: list[tuple[str, Report]], there: int) -> None:
    evidence = _counted(reports, there)
    doubtful = [(where, report) for where, report in reports if report.verdict != "valid"]
    if doubtful:
        where, report = doubtful[0]
        trail.warned("endorsements", f"{where} is {report.verdict}: {report.reason}", evidence)
    elif len(reports) < there:
        trail.warned("endorsements", f"{there - len(reports)} are too many or too deep and were not read", evidence)
    else:
        trail.passed("endorsements", f"all {there} are valid", evidence)


def _counted(reports: list[tuple[str, Report]], there: int) -> dict[str, str]:
    verdicts = Counter(report.verdict for _, report in reports)
    return {"there": str(there)} | {verdict: str(number) for verdict, number in sorted(verdicts.items())}

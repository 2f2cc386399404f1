"""The outcome of a verification, told in full: every check, one verdict, one sentence why.

Belongs here: Check, Report and which check decides. Does not belong here: checking. There is no boolean on purpose:
"not verified", "revoked" and "nobody could be asked" are different answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "unknown", "warn"]
Verdict = Literal["valid", "invalid", "revoked", "suspended", "expired", "superseded", "unknown"]

# What is known for certain comes before what is not known: an expired credential whose status list is out of reach has
# expired. A superseded version is also revoked, and "superseded" tells the reader where to go.
DECIDES: tuple[Verdict, ...] = ("invalid", "superseded", "revoked", "suspended", "expired", "unknown")
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `evidence` are the values behind the outcome, as text."""

    name: str
    outcome: Outcome
    detail: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All checks in order, the verdict, and the sentence of the check that decided it."""

    checks: tuple[Check, ...]
    verdict: Verdict
    reason: str
    members: tuple[Member, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON; `members` only where there are any."""
        told: dict[str, Any] = {
            "verdict": self.verdict,
            "reason": self.reason,
            "checks": [
                {"name": c.name, "outcome": c.outcome, "detail": c.detail, "evidence": dict(c.evidence)}
                for c in self.checks
            ],
        }
        if self.members:
            told["members"] = [{"where": m.where, "id": m.id, **m.report.as_dict()} for m in self.members]
        return told


@dataclass(frozen=True, slots=True)
class Member:
    """A credential embedded in another: where it stands there, what it calls itself, and the report on it alone."""

    where: str
    id: str
    report: Report


class Trail:
    """Collects checks while a verification goes on; `report` closes it."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._consequences: list[tuple[Verdict, str]] = []
        self._members: list[Member] = []

    def embeds(self, member: Member) -> None:
        """Keeps the report on an embedded credential; what it means for this one is a check of its own."""
        self._members.append(member)

    def passed(self, name: str, detail: str, evidence: Mapping[str, str] | None = None) -> None:
        """The check holds."""
        self._checks.append(Check(name, "pass", detail, evidence or {}))

    def warned(self, name: str, detail: str, evidence: Mapping[str, str] | None = None) -> None:
        """Worth telling, and no reason to doubt the credential."""
        self._checks.append(Check(name, "warn", detail, evidence or {}))

    def failed(
        self, name: str, detail: str, evidence: Mapping[str, str] | None = None, verdict: Verdict = "invalid"
    ) -> None:
        """The check does not hold, and the credential is `verdict`."""
        self._checks.append(Check(name, "fail", detail, evidence or {}))
        self._consequences.append((verdict, detail))

    def unknown(self, name: str, detail: str, evidence: Mapping[str, str] | None = None) -> None:
        """The check could not be made."""
        self._checks.append(Check(name, "unknown", detail, evidence or {}))
        self._consequences.append(("unknown", detail))

    def report(self) -> Report:
        """The verdict of the gravest consequence, or valid."""
        decided: tuple[Verdict, str] = ("valid", "the proofs, the issuer, the dates and the status hold")
        for verdict in DECIDES:
            found = next((detail for consequence, detail in self._consequences if consequence == verdict), None)
            if found is not None:
                decided = (verdict, found)
                break
        return Report(tuple(self._checks), *decided, tuple(self._members))

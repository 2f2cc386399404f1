"""Credentials of random shapes, many of each: for the property tests of the compiled path and for `fuzz`.

Everything follows from a seed, so that a failure is repeated by its number.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.document import (
    Achievement,
    Alignment,
    CredentialFacts,
    Evidence,
    HashedIdentifier,
    Issuer,
    Result,
    ResultDescription,
    RubricCriterionLevel,
    StatusEntry,
    honors_description,
    open_badge_credential,
)
from credential_pipeline_tests.credential.forms import AS_OF, BASE, DID

# What libraries escape, split at, normalise, or take for something else.
ODD = (
    '"', "\\", "\\\\", '\\"', "\\u001f", "\\n", "%", "%b", "%%", "{}", "<", ">", "_:c14n0", "_:a", " .", '"@en', "^^<",
    "@id", "@type", "http://x", "x:y", "zq0sentinel0001", "\u00a0", "\u0085", "\u2028", "\ufeff", "e\u0308",
    "\u202e", "👩‍🎓",
)  # fmt: skip
CONTROLS = ("\b", "\t", "\n", "\f", "\r", "\x0b", "\x1f", "\x01", "\x7f", "\x00", "\x9f")
EVIDENCE = ("url", "name", "narrative", "description", "genre", "audience")
IDENTITY_TYPES = ("sourcedId", "emailAddress", "systemId", "userName", "ext:pass")


@dataclass(frozen=True)
class Layout:
    """Which optional members the credentials of one batch have."""

    issuer: Issuer
    achievement: Achievement
    identity_types: tuple[str, ...]
    name: bool
    valid_until: bool
    credits: type | None
    term: bool
    results: int
    honors: int
    status: bool
    level: bool
    subject_id: str | None
    evidence: int
    shown: tuple[str, ...]
    """Members of each evidence in the facts."""
    purpose: str


class Source:
    """Random layouts and credentials."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    def maybe(self, value: Any, odds: float = 0.5) -> Any:
        return value if self.random.random() < odds else None

    def text(self, most: int = 12) -> str:
        """Text that builders take."""
        r = self.random
        return "".join(self._piece() for _ in range(r.randint(1, most))).strip() or "x"

    def _piece(self) -> str:
        r = self.random
        kind = r.random()
        if kind < 0.6:
            return r.choice(("Ada", "Grace", " ", "87.5", "A", "B", "-", "2024FA"))
        if kind < 0.8:
            return r.choice([odd for odd in ODD if odd != "\u0085"])
        while True:
            code = r.randrange(17) << 16 | r.randrange(0x10000)
            if (
                code & 0xFFFE != 0xFFFE
                and not 0xFDD0 <= code <= 0xFDEF
                and not 0xD800 <= code <= 0xDFFF
                and code > 0x9F
            ):
                return chr(code)

    def url(self, kind: str) -> str:
        r = self.random
        odd = r.choice(("", "", "", "#x", "?a=1&b=%20", "/ü", "/𠮷", "/a:b", "!", "~"))
        return f"{r.choice((BASE, BASE, 'https://a.example', 'http://zz.example'))}/{kind}/{r.randrange(10**9)}{odd}"

    def achievement(self) -> Achievement:
        r = self.random
        id_ = self.url("achievements")
        scale = tuple(dict.fromkeys(self.text(3) for _ in range(r.randint(1, 4))))
        described = [
            ResultDescription(
                f"{id_}-r{n}",
                self.text(),
                "LetterGrade",
                allowedValue=r.choice(((), scale)),
                rubricCriterionLevel=self.levels(f"{id_}-r{n}"),
            )
            for n in range(r.randint(0, 3))
        ]
        return Achievement(
            id=id_,
            name=self.text(),
            description=self.text(),
            achievement_type=r.choice(("Course", "ext:Thing", "MasterDegree")),
            criteria_narrative=self.text(),
            criteria_url=self.maybe(self.url("criteria")),
            alignments=tuple(
                Alignment(f"{n} {self.text()}", self.url("skills"), targetCode=self.maybe(self.text(3)))
                for n in range(r.choice((0, 0, 1, 2, 4)))
            ),
            result_descriptions=(*described, honors_description(id_)),
            credits_available=self.maybe(Decimal(r.randrange(1000)) / r.choice((1, 2, 8))),
            tags=tuple(dict.fromkeys(self.text(2) for _ in range(r.randint(0, 3)))),
            human_code=self.maybe(self.text(2)),
            in_language=self.maybe("de-CH"),
            image_url=self.maybe(self.url("images")),
            version=self.maybe(self.text(2)),
        )

    def levels(self, of: str) -> tuple[RubricCriterionLevel, ...]:
        """Rubric levels of a result description, or none."""
        return tuple(
            RubricCriterionLevel(f"{of}.{n}", self.text(3), points=self.maybe(str(n)))
            for n in range(self.random.choice((0, 2, 3)))
        )

    def layout(self) -> Layout:
        r = self.random
        issuer = Issuer(
            DID, self.text(), BASE, description=self.maybe(self.text()), image=self.maybe(self.url("images"))
        )
        return Layout(
            issuer=issuer,
            achievement=self.achievement(),
            identity_types=tuple(r.sample(IDENTITY_TYPES, r.randint(1, 3))),
            name=r.random() < 0.6,
            valid_until=r.random() < 0.3,
            credits=r.choice((None, int, float)),
            term=r.random() < 0.3,
            results=r.choice((0, 0, 1, 2, 3, 6)),
            honors=r.choice((0, 0, 0, 1, 2)),
            status=r.random() < 0.3,
            level=r.random() < 0.3,
            subject_id=r.choice((None, None, None, "did:key:z6Mk", "https://people.example/", "urn:uuid:")),
            evidence=r.choice((0, 0, 0, 1, 3)),
            shown=tuple(r.sample(EVIDENCE, r.choice((0, 0, 1, 2, 5)))),
            purpose=r.choice(("revocation", "suspension")),
        )

    def facts(self, layout: Layout) -> CredentialFacts:
        """One credential of the layout, most of what varies being different from the last."""
        r = self.random
        number = r.randrange(10**12)
        described = [x for x in layout.achievement.result_descriptions if not x.allowedValue and "honors" not in x.id]
        return CredentialFacts(
            url=self.url("credentials"),
            as_of=AS_OF + timedelta(seconds=r.randrange(10**6)),
            awarded_on=date(2025, 1, 1) + timedelta(days=r.randrange(200)),
            issuer=layout.issuer,
            achievement=layout.achievement,
            identifiers=tuple(HashedIdentifier(kind, str(number), f"{number:032x}") for kind in layout.identity_types),
            status=StatusEntry(self.url("status").partition("#")[0], number, layout.purpose),
            refresh_url=self.url("state"),
            valid_until=AS_OF + timedelta(days=r.randint(20, 4000)) if layout.valid_until else None,
            name=self.text() if layout.name else None,
            results=tuple(
                Result(
                    f"{n} {self.text(4)}",
                    result_description=described[n % len(described)].id if described else None,
                    status="Completed" if layout.status else None,
                    achieved_level=self._level(described, n) if layout.level else None,
                )
                for n in range(layout.results)
            ),
            credits_earned=self._credits(layout.credits),
            term=self.text(3) if layout.term else None,
            honors=tuple(f"{n} {self.text(3)}" for n in range(layout.honors)),
            evidence=tuple(
                Evidence(**{x: self.url("work") if x == "url" else f"{n} {self.text(3)}" for x in layout.shown})
                for n in range(layout.results if layout.shown else 0)
            ),
        )

    def _level(self, described: Sequence[ResultDescription], n: int) -> str | None:
        levels = described[n % len(described)].rubricCriterionLevel if described else ()
        return self.random.choice(levels).id if levels else None

    def document(self, layout: Layout, facts: CredentialFacts) -> dict[str, Any]:
        """Its document, with members that facts do not have."""
        document = open_badge_credential(facts)
        if layout.subject_id:
            document["credentialSubject"] = {
                "id": f"{layout.subject_id}{facts.status.index}",
                **document["credentialSubject"],
            }
        if layout.evidence and not facts.evidence:
            document["evidence"] = [
                {"type": ["Evidence"], "name": f"{n} {self.text(2)}", "narrative": self.text()}
                for n in range(layout.evidence)
            ]
        return document

    def _credits(self, kind: type | None) -> Any:
        if kind is None:
            return None
        whole = self.random.randrange(999_000)
        return whole if kind is int else (whole + self.random.randint(1, 999) / 1000)

    def rough(self, document: dict[str, Any]) -> dict[str, Any]:
        """The same shape with what builders refuse and the reference may take: controls, empty, equal, odd values."""
        r = self.random
        rough = copy.deepcopy(document)
        places = [*_texts(rough)]
        for _ in range(r.randint(1, 3)):
            container, key = r.choice(places)
            container[key] = r.choice(
                (
                    container[key] + r.choice(CONTROLS) + r.choice(ODD),
                    r.choice(ODD),
                    "",
                    "https://x.example/y",
                    "a:b",
                    "\ufffe",
                    r.choice(places)[0].get("value", "7"),
                    str(r.choice(places)[0].get("id", "7")),
                )
            )
        return rough


def _texts(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Members that hold text and vary from credential to credential."""
    stack: list[Any] = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            for key, member in value.items():
                if key in ("@context", "type", "issuer", "achievement", "credentialSchema"):
                    continue
                if isinstance(member, str):
                    yield value, key
                else:
                    stack.append(member)

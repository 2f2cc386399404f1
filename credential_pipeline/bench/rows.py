"""Made-up rows of a university, and what becomes of each: a credential of 3 kB with results, alignments and evidence.

Belongs here: rows that follow from a seed, and facts from a row. Does not belong here: measuring, and anybody's real
data.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from credential_pipeline.credential.document import (
    Achievement,
    Alignment,
    CredentialFacts,
    Evidence,
    HashedIdentifier,
    Issuer,
    Result,
    ResultDescription,
    StatusEntry,
)
from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH

AS_OF = datetime(2026, 3, 2, 10, tzinfo=UTC)
DID = "did:web:badges.bench.example"
_SITE = "https://badges.bench.example"
_GIVEN = ("Ada", "Grace", "Zoë", "Mary", "Katherine", "Emmy", "Søren", "Alan", "José", "Chien-Shiung")
_FAMILY = ("Lovelace", "Hopper", "Müller", "O'Neil", "Johnson", "Noether", "Kierkegaard", "Turing", "Núñez", "Wu")


class Row(NamedTuple):
    """A completion as the ledger has it when it is signed: texts and numbers."""

    achievement: int
    public_id: str
    student: str
    salt: str
    name: str
    term: str
    awarded_on: str
    score: str
    grade: str
    status_index: int


def synthetic_rows(count: int, *, seed: int = 1, achievements: int = 1) -> list[Row]:
    """`count` rows, no two alike, of this many achievements in turns."""
    drawn = random.Random(seed)  # noqa: S311 - made-up people, and the same ones each time
    first = date(2025, 9, 1)
    return [
        Row(
            achievement=n % achievements,
            public_id=f"{drawn.getrandbits(128):026x}"[-26:],
            student=f"S{1_000_000 + n}",
            salt=f"{drawn.getrandbits(128):032x}",
            name=f"{drawn.choice(_GIVEN)} {drawn.choice(_FAMILY)} {n}",
            term=("2025FA", "2026SP")[n % 2],
            awarded_on=(first + timedelta(days=drawn.randrange(180))).isoformat(),
            score=str(drawn.randint(50, 100)),
            grade=drawn.choice("ABC"),
            status_index=n % STATUS_LIST_LENGTH,
        )
        for n in range(count)
    ]


ISSUER = Issuer(DID, "University of Benchmarks", _SITE, image=f"{_SITE}/images/seal.png")


@cache
def achievement(number: int) -> Achievement:
    """One of as many courses as one likes."""
    id_ = f"{_SITE}/achievements/course-{number}.json"
    return Achievement(
        id=id_,
        name=f"Data Analysis {number}",
        description="Twelve weeks of statistics, data cleaning and modelling, with a supervised project.",
        achievement_type="Course",
        criteria_narrative="Pass the written examination with 50 % or more, and hand in the project.",
        alignments=(
            Alignment("Analyse data", "https://skills.bench.example/analyse-data", targetType="ceasn:Competency"),
            Alignment("Statistics", "https://skills.bench.example/statistics", targetCode="ST-2"),
        ),
        result_descriptions=(
            ResultDescription(f"{id_}#score", "Score", "Percent", valueMin="0", valueMax="100"),
            ResultDescription(f"{id_}#grade", "Grade", "LetterGrade", allowedValue=("A", "B", "C")),
        ),
        credits_available=Decimal("7.5"),
        human_code=f"DATA-{number}",
        in_language="en",
    )


def facts_by_row() -> Callable[[Row], CredentialFacts]:
    """From a row to what its credential says; what rows share is worked out once."""
    days: dict[str, date] = {}

    def facts_of(row: Row) -> CredentialFacts:
        course = achievement(row.achievement)
        score, grade = course.result_descriptions
        day = days.get(row.awarded_on)
        if day is None:
            day = days[row.awarded_on] = date.fromisoformat(row.awarded_on)
        public_id = row.public_id
        return CredentialFacts(
            url=f"{_SITE}/credentials/{public_id}.json",
            as_of=AS_OF,
            awarded_on=day,
            issuer=ISSUER,
            achievement=course,
            identifiers=(HashedIdentifier("sourcedId", row.student, row.salt),),
            name=row.name,
            results=(Result(row.score, score.id), Result(row.grade, grade.id)),
            credits_earned=course.credits_available,
            term=row.term,
            evidence=(Evidence(f"{_SITE}/reports/{public_id}", "Project report"),),
            status=StatusEntry(f"{_SITE}/status/1.json", row.status_index, "revocation"),
            refresh_url=f"{_SITE}/state/{public_id}.json",
        )

    return facts_of

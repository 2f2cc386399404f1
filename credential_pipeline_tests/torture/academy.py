"""A small institution with something to do every month: new rows, changes of credentials, renewals.

Belongs here: what the institution is, and what its n-th month brings, as a function of seed and n alone: whoever works
on a month, however often, is given the same. Does not belong here: doing it (tasks.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from ruamel.yaml import YAML

from credential_pipeline_tests.issue.signers import PEOPLE

FIRST_YEAR = 2001
DAY_OF_MONTH = 10

CHECKS = {
    "users": [{"check": "required", "field": "full_name"}, {"check": "email", "field": "email"}],
    "completions": [{"check": "date", "field": "done", "min": "2000-01-01"}],
}

INSTITUTION = {
    "id": "academy",
    "sample": True,
    "issuer": {"name": "Academy", "url": "https://academy.example"},
    "base_url": "https://badges.academy.example",
    "time_zone": "America/New_York",
    "history_from": date(FIRST_YEAR, 1, 1),
    "recipient": {
        "name": "shown",
        "identifiers": [{"type": "emailAddress", "from": "email"}, {"type": "systemId", "from": "lms"}],
    },
    "people": PEOPLE,
    # Lists are signed again every second month, states every third: re-signing is under the knife too.
    "policies": {"status_valid_days": 80, "state_valid_days": 150, "direct_change_limit": 2},
    "sources": [
        {
            "id": "lms",
            "kind": "files",
            "system": "lms",
            "name": "Learning",
            "datasets": [
                {
                    "id": "users",
                    "role": "people",
                    "files": "users-{day}.csv",
                    "columns": {"person": "id", "full_name": "name", "email": "email"},
                    "gate": {"checks": CHECKS["users"]},
                },
                {
                    "id": "completions",
                    "role": "evidence",
                    "files": "completions-{day}.csv",
                    "columns": {f: f for f in ("person", "course", "term", "done", "score", "outcome")},
                    "gate": {"reject_limit": 0.5, "checks": CHECKS["completions"]},
                },
            ],
        }
    ],
}


def _achievement(name: str, **members: object) -> dict[str, object]:
    return {
        "id": name,
        "name": name.title(),
        "type": "Course",
        "description": f"{name.title()}.",
        "criteria": f"Passed {name}.",
        "earned_by": [
            {"dataset": "lms.completions", "where": {"course": name, "outcome": "passed"}, "awarded_on": "done"}
        ],
        "occurrence": {"per": "term"},
        "results": [{"id": "score", "name": "Score", "type": "Percent", "field": "score", "min": "0", "max": "100"}],
        **members,
    }


REFRESHED = {
    "dataset": "lms.completions",
    "where": {"course": "refresher", "outcome": "passed"},
    "dated_on": "done",
    "within": {"days": 45},
}
RENEWAL = {"opens_days_before": 25, "requires": [REFRESHED]}

CATALOGUE = {
    "id": "courses",
    "name": "Courses",
    "achievements": [
        _achievement("knots"),
        _achievement("safety", validity={"months": 3}, renewal=RENEWAL, status_purpose="suspension"),
        _achievement("pilot", validity={"months": 2}, renewal=RENEWAL, approval="four_eyes"),
    ],
}

PERSONS = 16
"""In the first month; one more each month after that."""

EARN_EACH = {"knots": 4, "safety": 5, "pilot": 5}
"""Credentials of an achievement that a month's rows earn."""


@dataclass(frozen=True)
class Wanted:
    """The first version of somebody's credential of a month: what a change names."""

    achievement: str
    person: str
    term: str


@dataclass(frozen=True)
class Month:
    """What the n-th month brings (n from 0), drawn from the seed.

    Attributes:
        earned: persons of each achievement.
        refreshed: persons whose credentials may be renewed.
        digits: the person whose name has digits, new this month: held, and let go by a registrar.
    """

    seed: int
    number: int

    @property
    def day(self) -> date:
        return date(FIRST_YEAR + self.number // 12, self.number % 12 + 1, DAY_OF_MONTH)

    @property
    def as_of(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, 15, tzinfo=UTC)

    @property
    def term(self) -> str:
        return f"{self.day:%Y-%m}"

    @property
    def window(self) -> str:
        """The renewal window that is planned this month: the next."""
        return Month(self.seed, self.number + 1).term

    @property
    def before(self) -> Month | None:
        return Month(self.seed, self.number - 1) if self.number else None

    @property
    def annulled(self) -> Month | None:
        """The month whose knots are annulled in this one: every third month, those of two months ago."""
        return Month(self.seed, self.number - 2) if self.number % 3 == 2 else None

    @property
    def _draws(self) -> random.Random:
        return random.Random(f"{self.seed} {self.number}")

    @property
    def persons(self) -> list[str]:
        """All persons so far, the newest last."""
        return [f"U{n}" for n in range(1, PERSONS + self.number + 1)]

    @property
    def newcomers(self) -> list[str]:
        return self.persons if self.before is None else self.persons[-1:]

    @property
    def digits(self) -> str:
        return self.persons[-1]

    @property
    def earned(self) -> dict[str, list[str]]:
        draws = self._draws
        others = self.persons[:-1][-PERSONS:]
        found = {achievement: draws.sample(others, number) for achievement, number in EARN_EACH.items()}
        return {**found, "knots": [*found["knots"], self.digits]}

    @property
    def refreshed(self) -> list[str]:
        return self._draws.sample(self.persons, 3 * PERSONS // 4)

    @property
    def revoked(self) -> Wanted:
        return Wanted("knots", self.earned["knots"][0], self.term)

    @property
    def corrected(self) -> list[Wanted]:
        return [Wanted("knots", person, self.term) for person in self.earned["knots"][1:3]]

    @property
    def suspended(self) -> Wanted:
        return Wanted("safety", self.earned["safety"][0], self.term)

    def write(self, data: Path) -> None:
        """The month's files: new persons, and rows of which one is bad and one earns nothing."""
        data.mkdir(exist_ok=True)
        users = [f"{one},{self._name(one)},{one.lower()}@academy.example" for one in self.newcomers]
        (data / f"users-{self.day}.csv").write_text("\n".join(["id,name,email", *users, ""]))
        draws = self._draws
        rows = ["person,course,term,done,score,outcome"]
        passed = [(course, person) for course, persons in self.earned.items() for person in persons]
        passed += [("refresher", person) for person in self.refreshed]
        for course, person in passed:
            done = date(self.day.year, self.day.month, draws.randint(1, DAY_OF_MONTH - 1))
            rows.append(f"{person},{course},{self.term},{done},{draws.randint(50, 100)},passed")
        rows += [f"U1,knots,{self.term},soon,50,passed", f"U2,knots,{self.term}-again,{self.day},20,failed", ""]
        (data / f"completions-{self.day}.csv").write_text("\n".join(rows))

    def _name(self, person: str) -> str:
        spelled = "".join(chr(ord("a") + int(c)) for c in person[1:])
        return f"Person {person if person == self.digits else 'b' + spelled}son"


def write_academy(directory: Path) -> Path:
    """Write the institution; returns its directory."""
    (directory / "catalogue").mkdir(parents=True)
    yaml = YAML(typ="safe")
    yaml.dump(INSTITUTION, directory / "institution.yaml")
    yaml.dump(CATALOGUE, directory / "catalogue" / "courses.yaml")
    return directory

"""Who there is: humans with their records in the systems, most of them usual, some odd, some due to get dirt.

Belongs here: how many of each kind, and what their records say. Does not belong here: how a record is
written as a row, and what people did (rows.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .draws import Draws
from .identity import Record, folded

PROFILES = ((30, "lms"), (36, "lms sis"), (8, "sis"), (8, "hr"), (10, "lms hr"), (5, "lms sis hr"), (3, "sis hr"))
"""Of a hundred people, how many are known to which systems."""


@dataclass(frozen=True, slots=True)
class Stain:
    """A piece of dirt to come, the n-th of its code: in which file, and for most codes the column and its bad value.

    In the value `{old}` stands for what the column held and `{n}` for the number.
    """

    code: str
    n: int
    file: str
    column: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """One human, or two that look alike, each with their records; the dirt they are due to get; whether a doctor."""

    humans: tuple[tuple[Record, ...], ...]
    stain: Stain | None = None
    doctor: bool = False


class Population:
    """A number of people, as the recipe mixes them."""

    def __init__(self, people: int, draws: Draws, recipe: dict[str, Any]) -> None:
        self._people, self._draws, self._recipe = people, draws, recipe
        self._numbers: Counter[str] = Counter()

    def units(self) -> Iterator[Unit]:
        """All of them, in an order that says nothing; how many get which dirt depends on the number of people only."""
        special: list[Stain | dict[str, Any]] = []
        for dirt in self._recipe["dirt"]:
            places = dirt["places"]
            special += [Stain(dirt["code"], n, *places[n % len(places)]) for n in range(self._share(dirt))]
        for odd in self._recipe["odd_people"]:
            special += [odd] * self._share(odd)
        pairs = sum(isinstance(unit, dict) and any("human" in r for r in unit["records"]) for unit in special)
        total = self._people - pairs
        at = dict(zip(self._draws.some(len(special), total), special, strict=True))
        for number in range(1, total + 1):
            unit = at.get(number - 1)
            if isinstance(unit, dict):
                yield Unit(self._odd(number, unit), doctor=unit["name"] == "doctor")
            else:
                yield Unit((self._usual(number, unit.file.split("/")[0] if unit else ""),), unit)

    def _share(self, entry: dict[str, Any]) -> int:
        return max(1, int(self._people * entry["of_a_thousand"] / 1000 + 0.5))

    def _next(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]

    def _record_id(self, system: str) -> str:
        letter, base = {"lms": ("L", 0), "sis": ("S", 200_000), "hr": ("E", 300_000)}[system]
        return f"{letter}{base + self._next(system):06d}"

    def _national_id(self) -> str:
        n = self._next("national_id")
        return f"NX-{n * 700_001 % 1_000_000 if n < 1_000_000 else n:06d}"

    def _birth(self) -> str:
        born = self._draws.day("1948-01-01", "2006-12-31")
        return born[:-2] + "02" if born.endswith("-01-01") else born

    def _usual(self, number: int, system: str) -> tuple[Record, ...]:
        """A human whose records differ only in e-mail and in what is missing."""
        draws, culture = self._draws, self._recipe["cultures"]
        systems: list[str] = []
        while not systems or (system and system not in systems):
            systems = PROFILES[draws.weighted(share for share, _ in PROFILES)][1].split()
        one = culture[draws.weighted(entry["of_a_hundred"] for entry in culture)]
        given, family = draws.pick(one["given"]), draws.pick(one["family"])
        if draws.chance(2):
            given, family = "", draws.pick(self._recipe["mononyms"])
        mail, birth, national = self._mail(given, family, number), self._birth(), self._national_id()
        work = mail.replace("@mail.", "@staff.northfield.")
        records = [Record(name, self._record_id(name), given, family, mail, birth) for name in systems]
        lms = next((r.id for r in records if r.system == "lms"), "")
        for r in records:
            if r.system == "lms":
                r.email = work if "hr" in systems and draws.chance(75) else mail
                r.birth = "" if draws.chance(30) else self._or_placeholder(birth)
            elif r.system == "sis":
                r.email = mail.replace("@mail.", "@students.northfield.") if draws.chance(15) else mail
                r.birth = "" if draws.chance(3) else birth
                r.national_id = national if draws.chance(85) else ""
                r.lms_user = lms if draws.chance(98) else ""
            else:
                r.email, r.birth = work, "" if draws.chance(5) else self._or_placeholder(birth)
                r.national_id = national if draws.chance(92) else ""
        return tuple(records)

    def _or_placeholder(self, birth: str) -> str:
        return birth[:4] + "-01-01" if self._draws.chance(2) else birth

    def _mail(self, given: str, family: str, number: int) -> str:
        ascii_parts = ("".join(c for c in folded(part) if c.isascii()) for part in (given, family))
        return f"{'.'.join(part for part in ascii_parts if part) or 'user'}{number}@mail.example"

    def _odd(self, number: int, odd: dict[str, Any]) -> tuple[tuple[Record, ...], ...]:
        """The humans of an entry of `odd_people`: records alike in everything but what the entry changes."""
        pairs = self._recipe["name_pairs"]
        given, other_given = self._draws.pick(pairs[odd["given"]])
        family, other_family = self._draws.pick(pairs[odd["family"]])
        mail, birth = self._mail(given, family, number), self._birth()
        base = Record("", "", given, family, mail, birth, self._national_id())
        others = {
            "@other_given": other_given, "@other_family": other_family, "@initial": given[0] + ".",
            "@other_email": mail.replace("@mail.", "@post."), "@placeholder": birth[:4] + "-01-01",
            "@other_birth": f"{int(birth[:4]) + (27 if birth < '1979' else 3)}{birth[4:]}".replace("02-29", "02-28"),
        }  # fmt: skip
        humans: dict[int, list[Record]] = {}
        for entry in odd["records"]:
            changes = {k: others.get(v, v) for k, v in entry.items() if k != "human"}
            if changes.get("national_id") == "@other_id":
                changes["national_id"] = self._national_id()
            record = replace(base, id=self._record_id(entry["system"]), **changes)
            mine = humans.setdefault(entry.get("human", 1), [])
            if record.system == "lms":
                record.national_id = ""
            elif record.system == "sis" and "lms_user" not in changes:
                record.lms_user = next((r.id for r in mine if r.system == "lms"), "")
            mine.append(record)
        return tuple(map(tuple, humans.values()))

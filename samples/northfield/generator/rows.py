"""What is written about a human: the rows of people and of evidence, and the dirt in them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .draws import Draws
from .identity import Record
from .people import Stain, Unit
from .truth import EVIDENCE, PEOPLE

ONCE = "LANG-ES1"
"""The course that earns one award however often it is taken; the others earn one a term."""
COURSE = {EVIDENCE["lms"]: "course_code", EVIDENCE["sis"]: "degree_code", EVIDENCE["hr"]: "course_code"}
TOO_LONG = 300

Row = dict[str, str]


@dataclass(slots=True)
class Line:
    """A row on its way to a file: whose record it is or is about, the code of its dirt, and whether it comes last."""

    file: str
    key: str
    row: Row
    code: str = ""
    late: bool = False


class Rows:
    """The rows of one unit after another, numbered through."""

    def __init__(self, draws: Draws, recipe: dict[str, Any]) -> None:
        self._draws, self._recipe = draws, recipe
        self._numbers: Counter[str] = Counter()
        self._anonymous: set[tuple[str, str]] = set()

    def of(self, unit: Unit) -> list[Line]:
        """People first, then evidence. Rows about a record that the gate will refuse are dirt as well."""
        must = unit.stain is not None
        lines: list[Line] = []
        for records in unit.humans:
            lines += map(self._person, records)
            lines += self._completions([r for r in records if r.system == "lms"], must)
            for record in records:
                if record.system == "sis":
                    lines += self._conferrals(record, must, unit.doctor)
                elif record.system == "hr":
                    lines += self._training(record, must)
        if unit.stain:
            lines += self._soil([line for line in lines if line.file == unit.stain.file], unit.stain)
            refused = {line.key for line in lines if line.file in PEOPLE.values() and line.code and not line.late}
            for line in lines:
                if line.file in EVIDENCE.values() and line.key in refused:
                    line.code = "unknown_reference"
        return lines

    def _line(self, file: str, record: Record, values: Sequence[str]) -> Line:
        return Line(file, record.key, dict(zip(self._recipe["columns"][file], values, strict=True)))

    def _next_id(self, file: str) -> str:
        self._numbers[file] += 1
        letter = {EVIDENCE["lms"]: "C", EVIDENCE["sis"]: "D", EVIDENCE["hr"]: "T"}[file]
        return f"{letter}{self._numbers[file]:07d}"

    def _person(self, r: Record) -> Line:
        style = self._draws.below(100)
        given, family = self._written(r.given, style), self._written(r.family, style)
        gap = "  " if self._draws.chance(4) else " "
        if r.system == "sis":
            values = [r.id, given, family.replace(" ", gap), r.email, r.birth, r.national_id, r.lms_user]
        elif r.system == "hr":
            status = "left" if self._draws.chance(12) else "active"
            values = [r.id, f"{family},{gap}{given}" if given else family, r.email, r.birth, r.national_id, status]
        else:
            name = r.family + r.given if r.family_first else f"{given}{gap}{family}".strip()
            values = [r.id, name, r.email, r.birth]
        return self._line(PEOPLE[r.system], r, values)

    def _written(self, name: str, style: int) -> str:
        """The same name typed by somebody else: decomposed, in capitals, in small letters, with a curly apostrophe."""
        if "'" in name and self._draws.chance(50):
            name = name.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
        if style < 6:
            return unicodedata.normalize("NFD", name)
        if style < 10:
            return name.upper()
        return name.lower() if style < 12 else name

    def _completions(self, accounts: Sequence[Record], must: bool) -> list[Line]:
        """Courses of one human. Two accounts share no term, and only the first takes the course that counts once.

        So whether the accounts are found to be one human changes no award.
        """
        draws, file, lines = self._draws, EVIDENCE["lms"], []
        courses = [course[0] for course in self._recipe["courses"]]
        for place, record in enumerate(accounts):
            terms = list(self._recipe["terms"])[place * 2 : place * 2 + 2 if len(accounts) > 1 else None]
            open_to = [c for c in courses if not (place and c == ONCE)]
            offer = [(course, term) for course in open_to for term in terms]
            count = draws.pick((1, 1, 2, 2, 2, 3, 3, 4)) if must or draws.chance(97) else 0
            taken = [offer[n] for n in draws.some(count, len(offer))]
            if not place and draws.chance(2):
                taken = list(dict.fromkeys([*taken, (ONCE, terms[0]), (ONCE, terms[1])]))
            for course, term in taken:
                outcome, score = self._result()
                day = draws.day(*self._recipe["terms"][term])
                lines.append(
                    self._line(file, record, [self._next_id(file), record.id, course, term, day, score, outcome])
                )
        return lines

    def _result(self) -> tuple[str, str]:
        outcome = ("completed", "failed", "incomplete")[self._draws.weighted((80, 12, 8))]
        if outcome == "incomplete":
            return outcome, ""
        score = 50 + self._draws.below(51) if outcome == "completed" else 10 + self._draws.below(40)
        tenths = f".{self._draws.below(10)}" if score < 100 and self._draws.chance(30) else ""
        return outcome, f"{score}{tenths}"

    def _conferrals(self, record: Record, must: bool, doctor: bool) -> list[Line]:
        draws, file, lines = self._draws, EVIDENCE["sis"], []
        degrees = ["BSC-CS", "BA-HIST", "MSC-DATA"]
        chosen = [degrees[draws.weighted((45, 35, 20))]] if must or draws.chance(80) else []
        if chosen and draws.chance(8):
            chosen.append(degrees[(degrees.index(chosen[0]) + 1) % 3])
        for degree in ["MD"] if doctor else chosen:
            gpa = 200 + draws.below(201)
            honours = next((name for least, name in self._recipe["honours"] if gpa >= least), "none")
            day = draws.pick(self._recipe["ceremonies"])
            values = [self._next_id(file), record.id, degree, day, honours, f"{gpa // 100}.{gpa % 100:02d}"]
            lines.append(self._line(file, record, values))
        return lines

    def _training(self, record: Record, must: bool) -> list[Line]:
        """At most one pass a course and year; who failed before it did so in the first half of the year."""
        draws, file, lines = self._draws, EVIDENCE["hr"], []
        offer = [(course, year) for course in self._recipe["training"] for year in self._recipe["years"]]
        chosen = [entry for entry in offer if draws.chance(self._recipe["training"][entry[0]])]
        for course, year in chosen or ([draws.pick(offer)] if must else []):
            outcomes = ("failed", "passed") if draws.chance(8) else ("passed",)
            for outcome in outcomes:
                first, last = self._recipe["years"][year]
                day = draws.day(first, last, part=int(outcome == "passed"), parts=2)
                hours = draws.pick(("1", "1.5", "2", "4", "8"))
                values = [self._next_id(file), record.id, course, year, day, outcome, hours]
                lines.append(self._line(file, record, values))
        return lines

    def _soil(self, lines: list[Line], stain: Stain) -> list[Line]:
        """Make one of the lines dirty; the lines that come on top of it."""
        line = self._draws.pick(lines)
        if stain.code == "duplicate_row":
            return [replace(line, code=stain.code, late=True)]
        if stain.code == "contradicting_rows":
            first = next(iter(line.row))
            row = {**line.row, first: self._next_id(line.file), stain.column: stain.value}
            line.code = stain.code
            return [replace(line, row=row)]
        line.code, column = stain.code, stain.column
        if column == "user_id" and not stain.value:
            column = self._nameless(line.row)
        old = line.row[column]
        if stain.code == "too_long":
            line.row[column] = (f"{old} " * TOO_LONG)[: TOO_LONG - 1] + "x"
        else:
            line.row[column] = stain.value.format(old=old, n=stain.n)
        return []

    def _nameless(self, row: Row) -> str:
        """The column to leave empty: two rows of nobody for one course and term would contradict each other besides."""
        entry = (row["course_code"], row["term"])
        column = "completed_on" if entry in self._anonymous else "user_id"
        self._anonymous.add(entry)
        return column

"""From people to files: rows are written as they are made, and what they mean is added up beside them."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

from .draws import Draws
from .identity import Record, folded, strictly_same
from .people import Population
from .rows import COURSE, ONCE, Line, Rows
from .truth import EVIDENCE, Dirt, Truth

FEWEST_PEOPLE = 50
"""With fewer, one of each kind of dirt would bring a file near the 20 % at which the gate refuses a batch."""
FOUR_EYES = "doctor-of-medicine"
COURSES = "lms/courses.csv"


def generate(people: int, seed: int, out: Path, truth_file: Path | None = None) -> Truth:
    """Write the files of `people` humans into `out`, and truth.json beside it (or to `truth_file`).

    Raises:
        ValueError: fewer people than FEWEST_PEOPLE.
    """
    if people < FEWEST_PEOPLE:
        raise ValueError(f"--people {people}: the sample needs at least {FEWEST_PEOPLE}")
    recipe: dict[str, Any] = json.loads((Path(__file__).parent / "recipe.json").read_text(encoding="utf-8"))
    draws, truth = Draws(seed), Truth(seed, people)
    rows, ledger = Rows(draws, recipe), _Sums(truth, recipe)
    with ExitStack() as stack:
        files = _Files(out, stack, truth, recipe["columns"])
        for course in recipe["courses"]:
            files.write(Line(COURSES, "", dict(zip(recipe["columns"][COURSES], course, strict=True))))
        for unit in Population(people, draws, recipe).units():
            lines = rows.of(unit)
            for line in lines:
                files.write(line)
            ledger.add(unit.humans, lines)
        files.finish()
    truth.write(truth_file or out.absolute().parent / "truth.json")
    return truth


class _Files:
    """The CSV files, open for writing."""

    def __init__(self, out: Path, stack: ExitStack, truth: Truth, columns: dict[str, list[str]]) -> None:
        self._truth, self._late = truth, list[Line]()
        self._writers = {}
        for name, header in columns.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context((out / name).open("w", encoding="utf-8", newline=""))
            self._writers[name] = csv.writer(stream, lineterminator="\n")
            self._writers[name].writerow(header)

    def write(self, line: Line) -> None:
        """Append a row; a late one, which repeats another, comes far from it at the end of the file."""
        if line.late:
            self._late.append(line)
            return
        self._writers[line.file].writerow(line.row.values())
        self._truth.rows[line.file] += 1
        if line.code:
            self._truth.dirt.append(Dirt(line.file, self._truth.rows[line.file], line.code))

    def finish(self) -> None:
        """Write what was kept."""
        late, self._late = self._late, []
        for line in late:
            line.late = False
            self.write(line)


class _Sums:
    """Who is who and who earns what, unit by unit."""

    def __init__(self, truth: Truth, recipe: dict[str, Any]) -> None:
        self._truth, self._slugs = truth, recipe["achievements"]
        self._nicknames = frozenset(frozenset(map(folded, pair)) for pair in recipe["name_pairs"]["nickname"])

    def add(self, humans: tuple[tuple[Record, ...], ...], lines: list[Line]) -> None:
        """Add a unit: its rows that are not dirt, its records whose row is not dirt."""
        refused = {line.key for line in lines if line.file not in EVIDENCE.values() and line.code and not line.late}
        earned = self._earned([line for line in lines if line.file in EVIDENCE.values() and not line.code])
        known = [[record for record in human if record.key not in refused] for human in humans]
        for records in filter(None, known):
            persons = self._persons(records)
            self._truth.humans.append(tuple(record.key for record in records))
            self._truth.persons += len(persons)
            for person in persons:
                slugs = set().union(*(earned.get(record.key, set()) for record in person))
                self._truth.earners += bool(slugs)
                self._truth.holders += bool(slugs - {FOUR_EYES})
        for one, other in combinations(known, 2):
            self._truth.impostors += [(a.key, b.key) for a in one for b in other]

    def _persons(self, records: list[Record]) -> list[list[Record]]:
        """The records as strict rules group them; pairs go to the truth as links or as uncertain."""
        group = list(range(len(records)))
        pairs = list(combinations(range(len(records)), 2))
        for i, j in pairs:
            if strictly_same(records[i], records[j], self._nicknames):
                group = [group[i] if g == group[j] else g for g in group]
        for i, j in pairs:
            kind = self._truth.links if group[i] == group[j] else self._truth.uncertain
            kind.append((records[i].key, records[j].key))
        return [[r for r, g in zip(records, group, strict=True) if g == one] for one in sorted(set(group))]

    def _earned(self, lines: list[Line]) -> dict[str, set[str]]:
        """What each record's accepted rows earn, by source key; the rows are counted as earning or skipped."""
        earned: dict[str, set[str]] = {}
        for line in lines:
            outcome = line.row.get("outcome", "conferred")
            slug = self._slugs[line.row[COURSE[line.file]]]
            mine = earned.setdefault(line.key, set())
            if outcome not in {"completed", "passed", "conferred"}:
                self._truth.skipped[f"outcome={outcome}"] += 1
            elif slug == self._slugs[ONCE] and slug in mine:
                self._truth.skipped["already_earned"] += 1
            else:
                self._truth.earning[slug] += 1
                mine.add(slug)
        return earned

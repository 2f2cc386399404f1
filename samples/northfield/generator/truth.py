"""What the generator knows because it made it, and the file that keeps it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PEOPLE = {"lms": "lms/users.csv", "sis": "sis/students.csv", "hr": "hr/employees.csv"}
EVIDENCE = {"lms": "lms/completions.csv", "sis": "sis/conferrals.csv", "hr": "hr/training.csv"}


class Dirt(NamedTuple):
    """A row that the gate must quarantine: 1-based number among the rows after the header, and the code."""

    file: str
    row: int
    code: str


@dataclass
class Truth:
    """What the generator knows. Records go by source key; rows with dirt in a people file are nobody's record.

    `links`: pairs of one human's records that strict rules find, directly or over a third record; `uncertain`: pairs
    that they do not; `impostors`: records of two humans that look like one. `persons` counts linked records
    as one; `earners` have an award; `holders` have one that needs no second pair of eyes.
    """

    seed: int
    people: int
    rows: Counter[str] = field(default_factory=Counter)
    dirt: list[Dirt] = field(default_factory=list)
    humans: list[tuple[str, ...]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    uncertain: list[tuple[str, str]] = field(default_factory=list)
    impostors: list[tuple[str, str]] = field(default_factory=list)
    earning: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    persons: int = 0
    earners: int = 0
    holders: int = 0

    @property
    def expected(self) -> dict[str, Any]:
        """The sums of a run over all evidence: landed = accepted + quarantined, accepted = earning + skipped."""
        landed = sum(self.rows[file] for file in EVIDENCE.values())
        quarantined = sum(dirt.file in EVIDENCE.values() for dirt in self.dirt)
        counts = {"landed": landed, "accepted": landed - quarantined, "quarantined": quarantined}
        sorts = {"earning": dict(sorted(self.earning.items())), "skipped": dict(sorted(self.skipped.items()))}
        return {**counts, **sorts, "persons": self.persons, "earners": self.earners, "holders": self.holders}

    def write(self, path: Path) -> None:
        """Write truth.json, an entry a line, without holding its text in memory."""
        head = {"seed": self.seed, "people": self.people, "rows": self.rows, "expected": self.expected}
        with path.open("w", encoding="utf-8", newline="\n") as out:
            out.write("{" + ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in head.items()))
            for name in ("dirt", "humans", "links", "uncertain", "impostors"):
                out.write(f',\n"{name}": [')
                for place, entry in enumerate(getattr(self, name)):
                    value = entry._asdict() if isinstance(entry, Dirt) else entry
                    out.write((",\n" if place else "\n") + json.dumps(value, separators=(",", ":")))
                out.write("]")
            out.write("}\n")

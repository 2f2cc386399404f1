"""What is wrong with an institution's files, one problem a line, and the error that carries them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from credential_pipeline.errors import Terminal

MemberPath = tuple[str | int, ...]
"""Names of members and indices of list items, from the root of a file."""


def dotted(path: MemberPath) -> str:
    """A path as people write it: `sources[0].datasets[2].gate`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Problem:
    """`FILE:LINE: what is wrong (path.to.member); remedy`. Never holds the value of an unknown member."""

    file: Path
    line: int | None
    what: str
    path: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        member = f" ({self.path})" if self.path else ""
        return f"{where}: {self.what}{member}; {self.remedy}"


class InstitutionError(Terminal):
    """The files of an institution are not right; `problems` lists all of them, in the order of files and lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda p: (_rank(p.file), p.line or 0)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _rank(file: Path) -> tuple[bool, str]:
    return file.parent.name == "catalogue", str(file)

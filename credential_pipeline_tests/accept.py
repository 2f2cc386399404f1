"""`make accept DATA=DIR`: the Open University dataset through the command line, with expectations of our own.

Belongs here: running the command as an adopter does, and what must come of it, counted from the CSV files by plain
code. The reduced copy and the public full dataset both serve; known sums are asserted for the one that is known.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parent.parent
INSTITUTION = REPOSITORY / "samples" / "open_university"
DAY, AS_OF = "2026-03-02", "2026-03-02T10:00:00Z"
REDUCED = {"landed": 12_489, "issued": 8_917, "holders": 8_883, "skipped": 3_572}
"""What the reduced copy, known by its 12,489 registrations, must come to."""

FILES = ("courses.csv", "assessments.csv", "studentAssessment.csv", "studentInfo.csv")
EARNING = {"Pass", "Distinction"}
STARTS = {"B": (2, 1), "J": (10, 1)}
"""Month and day that a presentation starts on, by its letter."""


class Content(NamedTuple):
    """What a credential says of an award; who holds it is a salted hash."""

    module: str
    presentation: str
    final_result: str
    mark: str | None
    ended_on: str


@dataclass(frozen=True)
class Expected:
    """What the files must come to; `earners` are the students whose credentials say the same."""

    landed: int
    skipped: dict[str, int]
    earners: dict[Content, set[str]]

    @property
    def issued(self) -> int:
        """One credential an earner and presentation."""
        return sum(map(len, self.earners.values()))

    @property
    def holders(self) -> int:
        """Students with at least one."""
        return len(set().union(*self.earners.values()))

    @property
    def without_mark(self) -> int:
        """Credentials that state no coursework mark, because there is none."""
        return sum(len(students) for content, students in self.earners.items() if content.mark is None)


def expected_of(data: Path) -> Expected:
    """Count the files."""
    registrations = _read(data / "studentInfo.csv")
    lengths = {(r["code_module"], r["code_presentation"]): r for r in _read(data / "courses.csv")}
    marks = _marks(data)
    skipped, earners = Counter[str](), defaultdict[Content, set[str]](set)
    for row in registrations:
        offer, result = (row["code_module"], row["code_presentation"]), row["final_result"]
        if result not in EARNING:
            skipped[f"final_result={result}"] += 1
            continue
        start = date(int(offer[1][:4]), *STARTS[offer[1][4]])
        ended = start + timedelta(days=int(lengths[offer]["module_presentation_length"]))
        earners[Content(*offer, result, marks.get((row["id_student"], *offer)), str(ended))].add(row["id_student"])
    return Expected(len(registrations), dict(skipped), dict(earners))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _marks(data: Path) -> dict[tuple[str, str, str], str]:
    """The coursework mark by (student, module, presentation), where there is any."""
    assessments = {row["id_assessment"]: row for row in _read(data / "assessments.csv")}
    scored = defaultdict[tuple[str, str, str], list[tuple[Fraction, Fraction]]](list)
    for row in _read(data / "studentAssessment.csv"):
        if row["score"] in {"", "?"}:  # missing, not zero
            continue
        of = assessments[row["id_assessment"]]
        key = (row["id_student"], of["code_module"], of["code_presentation"])
        scored[key].append((Fraction(of["weight"]), Fraction(row["score"])))
    return {key: coursework_mark(pairs) for key, pairs in scored.items()}


def coursework_mark(scored: list[tuple[Fraction, Fraction]]) -> str:
    """The mean of scores by weight, the plain mean where the weights sum to 0; half to even, one decimal."""
    total = sum(weight for weight, _ in scored)
    weighted = sum(weight * score for weight, score in scored)
    mean = Fraction(weighted, total) if total else Fraction(sum(score for _, score in scored), len(scored))
    tenths = round(mean * 10)  # of a Fraction: half to even, and exact
    return f"{tenths // 10}.{tenths % 10}"


@dataclass
class Acceptance:
    """One acceptance: homes below `work`, lines of (what, expected, found)."""

    data: Path
    work: Path
    lines: list[tuple[str, object, object]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self, what: str, expected: object, found: object) -> None:
        """A line of the table."""
        self.lines.append((what, expected, found))

    @property
    def differences(self) -> int:
        """Lines that are not as expected."""
        return sum(expected != found for _, expected, found in self.lines)

    def command(self, title: str, *arguments: str, secrets: Path | None = None) -> dict[str, Any]:
        """Run the command line; its progress goes on to stderr as it comes, its last line of stdout is returned."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CREDENTIAL_PIPELINE_")}
        environment.pop("DAGSTER_HOME", None)
        if secrets is not None:
            environment["CREDENTIAL_PIPELINE_SECRETS"] = str(secrets)
        print(f"== {title}", flush=True)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "credential_pipeline", *arguments, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=REPOSITORY,
            check=False,
        )
        self.seconds[title] = round(time.monotonic() - started, 1)
        self.check(f"{title}: exit code", 0, done.returncode)
        printed = done.stdout.splitlines()
        return dict(json.loads(printed[-1])) if printed else {}

    def run(self, title: str, home: str, secrets: Path | None = None) -> dict[str, Any]:
        """`credential-pipeline run` in a home."""
        where = ("--institution", str(INSTITUTION), "--data", str(self.data), "--home", str(self.work / home))
        return self.command(title, "run", *where, "--day", DAY, "--as-of", AS_OF, secrets=secrets)

    def credentials(self, home: str) -> dict[str, bytes]:
        """What a home has published, by file name."""
        folder = self.work / home / "site" / "credentials"
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}

    def stop(self) -> None:
        """Stop what a run that was broken off left running."""
        for home in self.work.iterdir():
            if (home / "postgres").exists():
                self.command(f"stop {home.name}", "database-url", "--stop", "--home", str(home))


def wrong_credentials(expected: Expected, credentials: dict[str, bytes]) -> list[str]:
    """The files that are nobody's: whose content no student has, or whose hash is none of those students'.

    Each student and content is used up by the first file that fits, so that a second one is wrong.
    """
    left = {content: set(students) for content, students in expected.earners.items()}
    wrong = []
    for name, data in credentials.items():
        content, identifier = _content(json.loads(data))
        students = left.get(content, set())
        hit = next((s for s in students if identity_hash(s, identifier["salt"]) == identifier["identityHash"]), None)
        if hit is None:
            wrong.append(name)
        else:
            students.remove(hit)
    return wrong


def identity_hash(identifier: str, salt: str) -> str:
    """Open Badges 3.0 B.1.14 IdentityObject."""
    return "sha256$" + hashlib.sha256((identifier + salt).encode()).hexdigest()


def _content(document: dict[str, Any]) -> tuple[Content, dict[str, str]]:
    subject = document["credentialSubject"]
    values = {result["resultDescription"].partition("#")[2]: result["value"] for result in subject["result"]}
    content = Content(
        subject["achievement"]["humanCode"],
        subject["term"],
        values["final-result"],
        values.get("coursework-mark"),
        document["awardedDate"][:10],
    )
    (identifier,) = subject["identifier"]  # a name would be a second one
    return content, identifier


def accept(acceptance: Acceptance) -> None:
    """Everything that must hold, in order."""
    expected = expected_of(acceptance.data)
    first = acceptance.run("run", "home")
    _counts(acceptance, "run", expected, first, issued=expected.issued)
    if expected.landed == REDUCED["landed"]:
        for name, value in REDUCED.items():
            acceptance.check(f"run: {name} of the reduced copy", value, first.get(name))
    published = acceptance.credentials("home")
    acceptance.check("credentials published", expected.issued, len(published))
    acceptance.check("credentials with another holder or content", [], wrong_credentials(expected, published)[:5])
    silent = sum(_content(json.loads(data))[0].mark is None for data in published.values())
    acceptance.check("credentials without a mark", expected.without_mark, silent)
    second = acceptance.run("again", "home")
    _counts(acceptance, "again", expected, second, issued=0)
    acceptance.run("another home, same secrets", "other", acceptance.work / "home" / "secrets")
    other = acceptance.credentials("other")
    differing = sum(published.get(name) != other.get(name) for name in published.keys() | other.keys())
    acceptance.check("another home: credentials that differ in any byte", 0, differing)
    found = acceptance.command(
        "verify", "verify", "--at", AS_OF, str(acceptance.work / "home" / "site" / "credentials")
    )
    acceptance.check("verify: verdicts", {"valid": expected.issued}, found.get("verdicts"))


def _counts(acceptance: Acceptance, title: str, expected: Expected, found: dict[str, Any], *, issued: int) -> None:
    counts = {
        "landed": expected.landed,
        "accepted": expected.landed,
        "quarantined": 0,
        "skipped": sum(expected.skipped.values()),
        "holders": expected.holders,
        "earned": expected.issued,
        "issued": issued,
        "already_issued": expected.issued - issued,
        "held": 0,
        "published": expected.issued,
        "reconciled": True,
        "breaches": [],
        "failures": [],
    }
    for name, value in counts.items():
        acceptance.check(f"{title}: {name}", value, found.get(name))
    reasons = found.get("skipped_reasons", {})
    for reason in sorted(expected.skipped.keys() | reasons.keys()):
        acceptance.check(f"{title}: skipped, {reason}", expected.skipped.get(reason, 0), reasons.get(reason, 0))
    for stage, seconds in found.get("seconds", {}).items():
        acceptance.seconds[f"{title}: {stage}"] = seconds


def table(acceptance: Acceptance) -> str:
    """Expected and found, line by line, and what it took."""
    cells = [(what, str(expected), str(found)) for what, expected, found in acceptance.lines]
    widths = [max(len(row[place]) for row in cells) for place in range(3)]
    lines = [
        f"{'ok' if wanted == found else 'DIFFERS':<8}{what:<{widths[0]}}  {wanted:>{widths[1]}}  {found:>{widths[2]}}"
        for what, wanted, found in cells
    ]
    head = f"{'':<8}{'':<{widths[0]}}  {'expected':>{widths[1]}}  {'found':>{widths[2]}}"
    took = [f"        {what:<{widths[0]}}  {seconds:>9.1f} s" for what, seconds in acceptance.seconds.items()]
    return "\n".join(["", head, *lines, "", *took, ""])


def main(arguments: list[str] | None = None) -> int:
    """Accept a data directory; 1 on any difference."""
    parser = argparse.ArgumentParser(prog="make accept", description=__doc__)
    parser.add_argument("data", type=Path, help="directory with the OULAD files")
    parser.add_argument("--keep", action="store_true", help="leave the homes behind and say where")
    given = parser.parse_args(arguments)
    if missing := [name for name in FILES if not (given.data / name).is_file()]:
        parser.error(f"{given.data} has no {', '.join(missing)}: name the directory with the OULAD files")
    work = Path(tempfile.mkdtemp(prefix="credential-pipeline-accept-"))
    acceptance = Acceptance(given.data.absolute(), work)
    try:
        accept(acceptance)
        print(table(acceptance))
    finally:
        if given.keep:
            print(f"homes kept in {work}")
        else:
            acceptance.stop()
            shutil.rmtree(work, ignore_errors=True)
    told = f"{acceptance.differences} of {len(acceptance.lines)} differ" if acceptance.differences else "accepted"
    print(told)
    return 1 if acceptance.differences else 0


if __name__ == "__main__":
    sys.exit(main())

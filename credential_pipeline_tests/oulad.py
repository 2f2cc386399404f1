"""Files shaped like the Open University Learning Analytics Dataset, and the facts about them.

Same headers and quirks as the real ones: empty and `?` scores, weights that do not sum to 100, a module whose weights
are all 0, banked marks, earners without any mark, students in several modules, fractional weights. The facts are
computed here from what was drawn, not by the pipeline and not by reading the files back.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

MODULES = ("AAA", "BBB", "DDD", "GGG")
PRESENTATIONS = ("2013J", "2014J")
FULL_PRESENTATIONS = ("2013B", "2013J", "2014B", "2014J")
WEIGHTLESS = "GGG"
"""The module whose weights are all 0, as in the real data: its mark is the plain mean."""

Registration = tuple[str, str, str]
"""(student, module, presentation)."""


@dataclass(frozen=True)
class Facts:
    """What a run over the files must find.

    `marks` has every registration: the coursework mark as the credential states it (one decimal), or None where
    there is no mark at all. `earned_without_mark` counts the earners among those. `ended_days` is the length of
    each (module, presentation).
    """

    landed: int
    earned: int
    holders: int
    skipped: dict[str, int]
    marks: dict[Registration, str | None]
    results: dict[Registration, str]
    ended_days: dict[tuple[str, str], int]

    @property
    def earned_without_mark(self) -> int:
        """How many credentials must be issued without a coursework mark."""
        return sum(self.marks[entry] is None for entry, result in self.results.items() if is_earned(result))


@dataclass(frozen=True)
class _Assessment:
    id: str
    kind: str
    day: str
    weight: str


def is_earned(final_result: str) -> bool:
    """Whether a final result earns the module."""
    return final_result in {"Pass", "Distinction"}


def coursework_mark(scored: Sequence[tuple[Decimal, Decimal]]) -> str | None:
    """Mean of scores by weight, the plain mean where the weights sum to 0; half to even, one decimal; None without any.

    `scored` holds (weight, score) pairs.
    """
    if not scored:
        return None
    total = sum((weight for weight, _ in scored), Decimal(0))
    if total == 0:
        mean = sum((score for _, score in scored), Decimal(0)) / len(scored)
    else:
        mean = sum((weight * score for weight, score in scored), Decimal(0)) / total
    return str(mean.quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN))


def write_oulad(
    directory: Path,
    *,
    seed: int,
    registrations: int = 600,
    modules: Sequence[str] = MODULES,
    presentations: Sequence[str] = PRESENTATIONS,
    full: bool = False,
) -> Facts:
    """Write the five files into `directory` (made if missing); the same arguments give the same bytes.

    `full` is shaped like the public full dataset: results `Withdrawn`, presentations that start in February,
    exams (weight 100, on an empty day), `?` for what is missing, and many registrations without any mark.
    """
    draw = random.Random(seed)
    offered = [(module, p) for module in modules for p in (FULL_PRESENTATIONS if full else presentations)]
    lengths = {offer: draw.choice((234, 240, 261, 262, 268, 269)) for offer in offered}
    plans = {offer: _assessments(draw, number, offer[0], full) for number, offer in enumerate(offered)}
    taken = _registrations(draw, registrations, offered)
    results = {entry: _final_result(draw, full) for entry in taken}
    missing = "?" if full else ""
    marks: dict[Registration, str | None] = {}
    mark_rows: list[tuple[str, ...]] = []
    # the first two earners have no mark, and the first student of all has one that is missing: never left to chance
    earners = [entry for entry in taken if is_earned(results[entry])]
    for place, entry in enumerate(taken):
        silent = entry in earners[:2] or draw.random() < (0.12 if full else 0.005)
        sat = [] if silent else _scores(draw, plans[entry[1:]], missing, certain=place < 6)
        scored = [(Decimal(a.weight), Decimal(score)) for a, score in sat if score not in {"", "?"}]
        marks[entry] = coursework_mark(scored)
        mark_rows += [_mark_row(draw, entry[0], a, score) for a, score in sat]
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "courses.csv", _COURSES, ((*offer, str(days)) for offer, days in lengths.items()))
    _write(directory / "assessments.csv", _ASSESSMENTS, _assessment_rows(plans))
    _write(directory / "studentAssessment.csv", _MARKS, mark_rows)
    _write(directory / "studentInfo.csv", _INFO, (_info_row(draw, e, results[e], missing) for e in taken))
    _write(directory / "studentRegistration.csv", _REGISTRATION, (_dates(draw, e, results[e], missing) for e in taken))
    counted = Counter(results.values())
    return Facts(
        landed=len(taken),
        earned=counted["Pass"] + counted["Distinction"],
        holders=len({entry[0] for entry in earners}),
        skipped={result: n for result, n in sorted(counted.items()) if not is_earned(result)},
        marks=marks,
        results=results,
        ended_days=lengths,
    )


_COURSES = "code_module,code_presentation,module_presentation_length"
_ASSESSMENTS = "code_module,code_presentation,id_assessment,assessment_type,date,weight"
_MARKS = "id_assessment,id_student,date_submitted,is_banked,score"
_INFO = (
    "code_module,code_presentation,id_student,gender,region,highest_education,imd_band,age_band,"
    "num_of_prev_attempts,studied_credits,disability,final_result"
)
_REGISTRATION = "code_module,code_presentation,id_student,date_registration,date_unregistration"


def _write(path: Path, header: str, rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _assessments(draw: random.Random, number: int, module: str, full: bool) -> list[_Assessment]:
    # a weight of 0 among others: whoever has no other mark has the plain mean
    weights: Sequence[str] = draw.choice(
        (("0", "10", "20"), ("12.5", "17.5", "20", "10"), ("1", "1", "5", "18", "18"), ("16", "28"))
    )
    if module == WEIGHTLESS:
        weights = ("0", "0")
    plan = [
        _Assessment(str(1000 + number * 10 + place), "CMA" if weight == "1" else "TMA", str(19 + 35 * place), weight)
        for place, weight in enumerate(weights)
    ]
    if full and module != WEIGHTLESS:
        plan.append(_Assessment(str(1009 + number * 10), "Exam", "?", "100"))
    return plan


def _registrations(draw: random.Random, count: int, offered: Sequence[tuple[str, str]]) -> list[Registration]:
    """In the order of the real file: by module, presentation, student. One in fifty students takes two modules.

    Nobody takes a module twice, as in the real data nobody passes one twice.
    """
    taken: list[Registration] = []
    student = 11_000
    while len(taken) < count:
        student += draw.randint(1, 400)
        first = draw.choice(offered)
        others = [offer for offer in offered if offer[0] != first[0]]
        taken.append((str(student), *first))
        if others and len(taken) < count and draw.random() < 0.02:
            taken.append((str(student), *draw.choice(others)))
    return sorted(taken, key=lambda entry: (entry[1], entry[2], int(entry[0])))


def _final_result(draw: random.Random, full: bool) -> str:
    shares = {"Pass": 58, "Distinction": 13, "Fail": 29}
    if full:
        shares = {"Pass": 38, "Distinction": 9, "Fail": 22, "Withdrawn": 31}
    return draw.choices(list(shares), list(shares.values()))[0]


def _scores(
    draw: random.Random, plan: Sequence[_Assessment], missing: str, *, certain: bool
) -> list[tuple[_Assessment, str]]:
    """What a student handed in, with the score; whoever fails half-way has no later rows."""
    handed_in = plan if certain else plan[: draw.randint(1, len(plan))] if draw.random() < 0.2 else plan
    scores = [(a, missing if draw.random() < 0.01 else str(draw.randint(20, 100))) for a in handed_in]
    if certain:
        scores[0] = (scores[0][0], missing)
    return scores


def _mark_row(draw: random.Random, student: str, assessment: _Assessment, score: str) -> tuple[str, ...]:
    banked = draw.random() < 0.02
    day = "-1" if banked else str(int(assessment.day) + draw.randint(-8, 4)) if assessment.day != "?" else "240"
    return (assessment.id, student, day, str(int(banked)), score)


def _assessment_rows(plans: dict[tuple[str, str], list[_Assessment]]) -> list[tuple[str, ...]]:
    return [(*offer, a.id, a.kind, a.day, a.weight) for offer, plan in plans.items() for a in plan]


def _info_row(draw: random.Random, entry: Registration, result: str, missing: str) -> tuple[str, ...]:
    student, module, presentation = entry
    band = draw.choice((missing, "0-10%", "10-20", "20-30%", "50-60%", "90-100%"))
    return (
        module,
        presentation,
        student,
        draw.choice("MF"),
        draw.choice(("Scotland", "Wales", "South Region", "East Anglian Region")),
        draw.choice(("A Level or Equivalent", "HE Qualification", "No Formal quals")),
        band,
        draw.choice(("0-35", "35-55", "55<=")),
        str(draw.choice((0, 0, 0, 0, 1, 2))),
        str(draw.choice((30, 60, 60, 120, 240))),
        draw.choice("NNNY"),
        result,
    )


def _dates(draw: random.Random, entry: Registration, result: str, missing: str) -> tuple[str, ...]:
    student, module, presentation = entry
    left = str(draw.randint(-10, 200)) if result == "Withdrawn" else missing
    return (module, presentation, student, str(-draw.randint(1, 180)), left)

"""What a credential says of how well: results and what they can be, and the competencies behind them.

Belongs here: Result, ResultDescription, RubricCriterionLevel and Alignment (Open Badges 3.0, appendix B.1), and what
fits what. Does not belong here: where the values come from, and the achievement around the descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from credential_pipeline.credential.text import BuildError, distinct, iri, one_of, text, url

RESULT_TYPES = frozenset(
    [
        "GradePointAverage",
        "LetterGrade",
        "Percent",
        "PerformanceLevel",
        "PredictedScore",
        "RawScore",
        "Result",
        "RubricCriterion",
        "RubricCriterionLevel",
        "RubricScore",
        "ScaledScore",
        "Status",
    ]
)
ALIGNMENT_TYPES = frozenset(
    [
        "ceasn:Competency",
        "ceterms:Credential",
        "CFItem",
        "CFRubric",
        "CFRubricCriterion",
        "CFRubricCriterionLevel",
        "CTDL",
    ]
)
RESULT_STATUSES = frozenset(["Completed", "Enrolled", "Failed", "InProgress", "OnHold", "Provisional", "Withdrew"])


@dataclass(frozen=True, slots=True)
class Alignment:
    """One node of a competency framework that the achievement covers; members are spelled as in the standard."""

    targetName: str  # noqa: N815 - the standard's name
    targetUrl: str  # noqa: N815 - the standard's name
    targetType: str | None = None  # noqa: N815 - the standard's name
    targetFramework: str | None = None  # noqa: N815 - the standard's name
    targetCode: str | None = None  # noqa: N815 - the standard's name
    targetDescription: str | None = None  # noqa: N815 - the standard's name


@dataclass(frozen=True, slots=True)
class RubricCriterionLevel:
    """One level of a rubric: `id` is an absolute IRI that results refer to, `points` a text as in the standard."""

    id: str
    name: str
    level: str | None = None
    points: str | None = None
    description: str | None = None
    alignments: tuple[Alignment, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultDescription:
    """What one result of the achievement can be; `id` is an absolute IRI, values are strings as in the standard."""

    id: str
    name: str
    resultType: str  # noqa: N815 - the standard's name
    valueMin: str | None = None  # noqa: N815 - the standard's name
    valueMax: str | None = None  # noqa: N815 - the standard's name
    allowedValue: tuple[str, ...] = ()  # noqa: N815 - the standard's name
    requiredValue: str | None = None  # noqa: N815 - the standard's name
    rubricCriterionLevel: tuple[RubricCriterionLevel, ...] = ()  # noqa: N815 - the standard's name
    requiredLevel: str | None = None  # noqa: N815 - the standard's name
    alignments: tuple[Alignment, ...] = ()


# Not frozen, for the reason given at HashedIdentifier (document.py).
@dataclass(unsafe_hash=True, slots=True)
class Result:
    """One result; `result_description` is the id of one that the achievement lists, `achieved_level` of one of its
    rubric levels. One of value, status and level at least."""

    value: str | None = None
    result_description: str | None = None
    status: str | None = None
    achieved_level: str | None = None
    alignments: tuple[Alignment, ...] = ()


def honors_description(achievement_id: str) -> ResultDescription:
    """The result description that `CredentialFacts.honors` refer to; the achievement has to list it."""
    # An IRI has one fragment (RFC 3987 2.2): an id that has it already is made longer.
    mark = "." if "#" in achievement_id else "#"
    return ResultDescription(f"{achievement_id}{mark}honors", "Honours", "Result")


def alignments(given: Sequence[Alignment], of: str) -> list[dict[str, Any]]:
    """The `alignment` of the member `of` (B.1 Alignment); raises BuildError."""
    return distinct([_alignment(x, f"{of}.alignment") for x in given], f"{of}.alignment")


def result_descriptions(given: Sequence[ResultDescription]) -> list[dict[str, Any]]:
    """The `resultDescription` of an achievement (B.1 ResultDescription); raises BuildError."""
    distinct([x.id for x in given], "achievement.resultDescription.id")
    distinct([x.id for d in given for x in d.rubricCriterionLevel], "resultDescription.rubricCriterionLevel.id")
    return [_result_description(x) for x in given]


def result(given: Result, described: Mapping[str, ResultDescription]) -> dict[str, Any]:
    """A Result (B.1) by the descriptions of its achievement, by id; raises BuildError."""
    if given.value is None and given.status is None and given.achieved_level is None:
        raise BuildError("a result says nothing: give it a value, a status or a level (B.1 Result)")
    built: dict[str, Any] = {"type": ["Result"]}
    if given.value is not None:
        built["value"] = text(given.value, "result.value")
    if given.result_description is not None:
        description = described.get(given.result_description)
        if description is None:
            raise BuildError(
                f"result.resultDescription is {given.result_description!r}, which the achievement does not list: add"
                " it to its result descriptions (B.1 Result; for honours: honors_description)"
            )
        built["resultDescription"] = description.id
        if given.value is not None:
            refuse_outside(given.value, description)
    if given.status is not None:
        if given.status not in RESULT_STATUSES:
            raise BuildError(f"result.status is {given.status!r}: use one of {', '.join(sorted(RESULT_STATUSES))}")
        built["status"] = given.status
    if given.achieved_level is not None:
        refuse_other_level(given.achieved_level, described.get(given.result_description or ""))
        built["achievedLevel"] = iri(given.achieved_level, "result.achievedLevel")
    if given.alignments:
        built["alignment"] = alignments(given.alignments, "result")
    return built


def refuse_other_level(level: str, description: ResultDescription | None) -> None:
    """Raises BuildError unless `level` is the id of a rubric level of the description (B.1 Result, achievedLevel)."""
    if description is None or level not in [x.id for x in description.rubricCriterionLevel]:
        raise BuildError(
            f"result.achievedLevel is {level!r}, which is no rubric level of its result description: add it there"
            " (B.1 Result, achievedLevel)"
        )


def refuse_outside(value: str, description: ResultDescription) -> None:
    """Raises BuildError unless the value lies in allowedValue, or between valueMin and valueMax (B.1)."""
    if description.allowedValue and value not in description.allowedValue:
        raise BuildError(
            f"the result {value!r} of {description.name!r} is not one of {', '.join(description.allowedValue)}"
        )
    if description.valueMin is None and description.valueMax is None:
        return
    try:
        number = Decimal(value)
        low = number if description.valueMin is None else Decimal(description.valueMin)
        high = number if description.valueMax is None else Decimal(description.valueMax)
        outside = not low <= number <= high  # comparing NaN raises too
    except InvalidOperation as cause:
        raise BuildError(f"the result {value!r} of {description.name!r} or its limits are not numbers") from cause
    if outside:
        raise BuildError(f"the result {value!r} of {description.name!r} is outside {low} to {high}")


def _alignment(a: Alignment, where: str) -> dict[str, Any]:
    built: dict[str, Any] = {
        "type": ["Alignment"],
        "targetName": text(a.targetName, f"{where}.targetName"),
        "targetUrl": url(a.targetUrl, f"{where}.targetUrl"),
    }
    if a.targetType is not None:
        built["targetType"] = one_of(a.targetType, ALIGNMENT_TYPES, f"{where}.targetType")
    for member, value in (("targetFramework", a.targetFramework), ("targetCode", a.targetCode)):
        if value is not None:
            built[member] = text(value, f"{where}.{member}")
    if a.targetDescription is not None:
        built["targetDescription"] = text(a.targetDescription, f"{where}.targetDescription", multiline=True)
    return built


def _result_description(d: ResultDescription) -> dict[str, Any]:
    _refuse_contradictions(d)
    where = "resultDescription"
    built: dict[str, Any] = {
        "id": iri(d.id, f"{where}.id"),
        "type": ["ResultDescription"],
        "name": text(d.name, f"{where}.name"),
        "resultType": one_of(d.resultType, RESULT_TYPES, f"{where}.resultType"),
    }
    if d.allowedValue:
        built["allowedValue"] = distinct(
            [text(value, f"{where}.allowedValue") for value in d.allowedValue], f"{where}.allowedValue"
        )
    for member, value in (("requiredValue", d.requiredValue), ("valueMax", d.valueMax), ("valueMin", d.valueMin)):
        if value is not None:
            built[member] = text(value, f"{where}.{member}")
    if d.rubricCriterionLevel:
        built["rubricCriterionLevel"] = [_rubric_level(x) for x in d.rubricCriterionLevel]
    if d.requiredLevel is not None:
        built["requiredLevel"] = iri(d.requiredLevel, f"{where}.requiredLevel")
    if d.alignments:
        built["alignment"] = alignments(d.alignments, where)
    return built


def _refuse_contradictions(d: ResultDescription) -> None:
    """What no result could ever meet (B.1 ResultDescription)."""
    if d.requiredValue is not None:
        refuse_outside(d.requiredValue, d)
    if d.valueMin is not None and d.valueMax is not None:
        # A greatest value below the least one leaves nothing between them.
        refuse_outside(d.valueMin, ResultDescription(d.id, f"{d.name}, valueMin", d.resultType, valueMax=d.valueMax))
    if d.requiredLevel is not None and d.requiredLevel not in [x.id for x in d.rubricCriterionLevel]:
        raise BuildError(
            f"resultDescription.requiredLevel is {d.requiredLevel!r}, which is none of its rubric levels: add it there"
            " (B.1 ResultDescription, requiredLevel)"
        )


def _rubric_level(x: RubricCriterionLevel) -> dict[str, Any]:
    where = "rubricCriterionLevel"
    built: dict[str, Any] = {
        "id": iri(x.id, f"{where}.id"),
        "type": ["RubricCriterionLevel"],
        "name": text(x.name, f"{where}.name"),
    }
    for member, value in (("level", x.level), ("points", x.points)):
        if value is not None:
            built[member] = text(value, f"{where}.{member}")
    if x.description is not None:
        built["description"] = text(x.description, f"{where}.description", multiline=True)
    if x.alignments:
        built["alignment"] = alignments(x.alignments, where)
    return built

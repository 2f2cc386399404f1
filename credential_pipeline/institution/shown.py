"""What the catalogue lets a credential show beside the achievement itself: results, competencies, evidence, languages.

Belongs here: the shapes of these members of an achievement. Does not belong here: which rows earn it (catalogue.py),
and the document that is made of them (describe.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from credential_pipeline.institution.base import FieldName, HttpsUrl, Misfit, Model, Slug, Text, refuse

LanguageCode = Annotated[
    str,
    Field(
        pattern=r"^[a-z]{2,4}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$",
        description="a BCP 47 code such as en-GB (Open Badges 3.0 B.3 LanguageCode)",
    ),
]


class Alignment(Model):
    """A competency in a published framework: CASE, CTDL, ESCO, O*NET and others (Open Badges 3.0 B.1.4 Alignment)."""

    target_name: Text
    target_url: HttpsUrl
    target_framework: Text | None = None
    target_code: Text | None = None
    target_type: Text | None = None
    target_description: Text | None = None


class RubricLevel(Model):
    """One level of a rubric, worst first; rows that hold its `value` have reached it (Open Badges 3.0 B.1.23)."""

    id: Slug
    name: Text
    value: Text | None = Field(default=None, description="what the field of the row holds [the name]")
    level: Text | None = None
    points: Text | None = None
    description: Text | None = None
    alignments: tuple[Alignment, ...] = ()

    @property
    def shown_as(self) -> str:
        """The value of rows that have reached it."""
        return self.name if self.value is None else self.value


RESULT_OF_A_RUBRIC = ("RubricCriterion", "RubricCriterionLevel", "RubricScore", "PerformanceLevel")


class ResultField(Model):
    """A result the credential shows, from a field of the row that earned it (Open Badges 3.0 B.1.20).

    `levels` are those of a rubric, `statuses` what the field's values mean as a completion status.
    """

    id: Slug
    name: Text
    type: Literal[
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
    field: FieldName
    min: Text | None = None
    max: Text | None = None
    allowed: tuple[Text, ...] = ()
    required: Text | None = Field(default=None, description="the value that is needed to earn the achievement")
    levels: tuple[RubricLevel, ...] = ()
    required_level: Slug | None = None
    statuses: dict[
        Text, Literal["Completed", "Enrolled", "Failed", "InProgress", "OnHold", "Provisional", "Withdrew"]
    ] = Field(default_factory=dict)
    alignments: tuple[Alignment, ...] = ()
    omit: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _kinds_fit(self) -> ResultField:
        refuse(self._misfits())
        return self

    def _misfits(self) -> Iterator[Misfit]:
        if self.levels and self.type not in RESULT_OF_A_RUBRIC:
            what = f"a {self.type} has no rubric levels"
            yield Misfit(("levels",), what, f"take them out, or make the type one of {', '.join(RESULT_OF_A_RUBRIC)}")
        if self.statuses and self.type != "Status":
            yield Misfit(("statuses",), f"a {self.type} has no status", "take them out, or make the type Status")
        if sum(map(bool, (self.allowed, self.levels, self.statuses))) > 1:
            what = "allowed, levels and statuses each say which values there are"
            yield Misfit(("allowed",), what, "give one of the three")
        values = [level.shown_as for level in self.levels]
        for position, value in enumerate(values):
            if value in values[:position]:
                what = f"two levels stand for the value {value}"
                yield Misfit(("levels", position), what, "give each a `value` of its own")

    @property
    def allowed_values(self) -> tuple[str, ...]:
        """The values that there are, worst first; empty where any may be."""
        return self.allowed or tuple(level.shown_as for level in self.levels) or tuple(self.statuses)


class EvidenceField(Model):
    """Evidence the credential names: `field` of the row that earned it holds its URL (Open Badges 3.0 B.1.9).

    The URL is published with the credential, for everybody who has it; a row without one shows none.
    """

    field: FieldName
    name: Text | None = None
    description: Text | None = None
    narrative: Text | None = None
    genre: Text | None = None
    audience: Text | None = None


class Translation(Model):
    """The achievement in another language: a document of its own that both refer to (Open Badges 3.0 B.1 Related)."""

    language: LanguageCode
    name: Text
    description: Text
    criteria: Text

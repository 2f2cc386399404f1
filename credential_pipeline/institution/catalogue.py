"""The catalogue: what can be earned, which accepted rows earn it, and what the credential says."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from credential_pipeline.institution.base import FieldName, HttpsUrl, Misfit, Model, Slug, Text, refuse
from credential_pipeline.institution.shown import Alignment, EvidenceField, LanguageCode, ResultField, Translation


def _one_value_or_many(value: object) -> object:
    if isinstance(value, dict):
        return {k: (v,) if isinstance(v, str) else v for k, v in value.items()}
    return value


Where = Annotated[
    dict[FieldName, tuple[Text, ...]],
    BeforeValidator(_one_value_or_many, json_schema_input_type=dict[FieldName, Text | tuple[Text, ...]]),
]
"""Fields and the values they may have; one value may stand without a list."""


class Rule(Model):
    """Accepted rows of `dataset` (SOURCE.DATASET) whose fields have these values earn the achievement."""

    dataset: Text
    where: Where = Field(min_length=1)
    awarded_on: FieldName


class Occurrence(Model):
    """`per: FIELD`: one award for each value of the field (a term, a run); never a date or score that may change."""

    per: FieldName


class Period(Model):
    """A calendar period; exactly one of the members."""

    years: int | None = Field(default=None, gt=0)
    months: int | None = Field(default=None, gt=0)
    days: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_member(self) -> Period:
        if sum(v is not None for v in (self.years, self.months, self.days)) != 1:
            raise ValueError("must have exactly one member; give one of years, months, days")
        return self


class Credits(Model):
    """Credits of the person's other current credentials; of those awarded `within` a period, counted back from the end
    of the credential that is renewed.
    """

    at_least: Annotated[Decimal, Field(gt=0, decimal_places=3)]
    within: Period | None = None


class Requirement(Model):
    """What must hold for a renewal: an accepted row of the person, or `credits`.

    With `within`, the row's `dated_on` lies no further back than that from the end of the credential that is renewed.
    """

    dataset: Text | None = None
    where: Where = Field(default_factory=dict)
    dated_on: FieldName | None = None
    within: Period | None = None
    credits: Credits | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Requirement:
        if (self.dataset is None) == (self.credits is None):
            raise ValueError("must name a dataset or credits; give one of the two")
        if self.credits is not None and (self.where or self.dated_on or self.within):
            raise ValueError("credits are counted, not looked up; move `within` below `credits`, take the rest out")
        if self.dataset is not None and not self.where:
            raise ValueError("asks nothing of the rows; add `where: {FIELD: VALUE}`")
        if (self.within is None) != (self.dated_on is None):
            raise ValueError("`within` and `dated_on` belong together; give both or neither")
        return self

    @property
    def label(self) -> str:
        """What is required, in the words of the catalogue: `hr.employees status=active`, `credits at_least=10`."""
        if self.credits is not None:
            return f"credits at_least={self.credits.at_least.normalize():f}"
        return " ".join([str(self.dataset), *(f"{field}={'|'.join(v)}" for field, v in self.where.items())])


class Renewal(Model):
    """How a credential with `validity` is renewed.

    A credential ends in a window, the month of its last valid day. The window opens `opens_days_before` that month
    begins, for all of it at once, and a credential can be renewed up to `grace_days` after its end. The renewed one
    ends a `period` after the one before, however early or late it was renewed.
    """

    opens_days_before: int = Field(default=60, ge=0)
    grace_days: int = Field(default=0, ge=0)
    period: Period | None = Field(default=None, description="how long each renewal holds [the validity]")
    requires: tuple[Requirement, ...] = ()


LONGEST_MONTH = 31
"""Days; a credential is renewed once in a window, which is a month."""


class Achievement(Model):
    """What can be earned. Its `id` is part of every award's identity: rename the `name`, never the `id`."""

    id: Slug
    name: Text
    type: Literal[
        "Achievement", "ApprenticeshipCertificate", "Assessment", "Assignment", "AssociateDegree", "Award", "Badge",
        "BachelorDegree", "Certificate", "CertificateOfCompletion", "Certification", "CommunityService", "Competency",
        "Course", "CoCurricular", "Degree", "Diploma", "DoctoralDegree", "Fieldwork", "GeneralEducationDevelopment",
        "JourneymanCertificate", "LearningProgram", "License", "Membership", "ProfessionalDoctorate",
        "QualityAssuranceCredential", "MasterCertificate", "MasterDegree", "MicroCredential", "ResearchDoctorate",
        "SecondarySchoolDiploma",
    ]  # fmt: skip
    description: Text
    criteria: Text
    earned_by: tuple[Rule, ...] = Field(min_length=1)
    occurrence: Literal["once"] | Occurrence = Field(description="`once`, or `{per: FIELD}`")
    validity: Period | None = None
    renewal: Renewal | None = None
    approval: Literal["auto", "four_eyes"] = "auto"
    status_purpose: Literal["revocation", "suspension"] = "revocation"
    results: tuple[ResultField, ...] = ()
    alignments: tuple[Alignment, ...] = ()
    credits: Annotated[Decimal, Field(gt=0, decimal_places=3)] | None = None
    tags: tuple[Text, ...] = ()
    language: LanguageCode | None = None
    translations: tuple[Translation, ...] = ()
    code: Text | None = None
    criteria_url: HttpsUrl | None = None
    image: HttpsUrl | None = None
    field_of_study: Text | None = None
    specialization: Text | None = None
    edition: Text | None = Field(default=None, description="the version of the achievement that credentials show")
    evidence: tuple[EvidenceField, ...] = ()
    narrative: FieldName | None = Field(default=None, description="the field that says what the person did")

    @model_validator(mode="after")
    def _members_fit(self) -> Achievement:
        misfits = []
        if self.renewal and not self.validity:
            what = "renewal without validity: a credential that never ends cannot be renewed"
            misfits.append(Misfit(("renewal",), what, "add `validity`, or take `renewal` out"))
        if (period := self.renewal_period) and period.days and period.days < LONGEST_MONTH:
            what = f"a renewal of less than {LONGEST_MONTH} days could end in the month it renews"
            misfits.append(Misfit(("renewal",), what, "give a longer `period`, or take `renewal` out"))
        if self.translations and not self.language:
            what = "translations of a text whose language is not given"
            misfits.append(Misfit(("translations",), what, "add `language`, which the name and description are in"))
        spoken = [self.language, *(translation.language for translation in self.translations)]
        for position, code in enumerate(spoken[1:]):
            if code in spoken[: position + 1]:
                what = f"the achievement is in {code} already"
                misfits.append(Misfit(("translations", position), what, "keep one of them"))
        ids = [result.id for result in self.results]
        for position, result in enumerate(self.results):
            if result.id in ids[:position]:
                what = f"two results have the id {result.id}"
                misfits.append(Misfit(("results", position, "id"), what, "give one of them another id"))
        fields = [shown.field for shown in self.evidence]
        for position, field in enumerate(fields):
            if field in fields[:position]:
                what = f"two pieces of evidence from the field {field}"
                misfits.append(Misfit(("evidence", position, "field"), what, "keep one of them"))
        refuse(misfits)
        return self

    @property
    def shown_fields(self) -> set[str]:
        """Fields of the row that earned it whose values a credential shows."""
        fields = {result.field for result in self.results} | {shown.field for shown in self.evidence}
        return fields | ({self.narrative} if self.narrative else set())

    @property
    def renewal_period(self) -> Period | None:
        """How long a renewal holds; None where there is none."""
        return (self.renewal.period or self.validity) if self.renewal else None

    @cached_property
    def version(self) -> str:
        """SHA-256 (hex) of everything the catalogue says of it: a plan line is stale when this changed."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Programme(Model):
    """One file of the catalogue: a programme and what can be earned in it."""

    id: Slug
    name: Text
    achievements: tuple[Achievement, ...] = Field(min_length=1)


class Catalogue(Model):
    """All programmes of an institution."""

    programmes: tuple[Programme, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Catalogue:
        programmes: set[str] = set()
        seen: dict[str, str] = {}
        misfits = []
        for i, programme in enumerate(self.programmes):
            if programme.id in programmes:
                what = f"another programme has the id {programme.id} as well"
                misfits.append(Misfit(("programmes", i, "id"), what, "give one of them another id"))
            programmes.add(programme.id)
            for j, achievement in enumerate(programme.achievements):
                if achievement.id in seen:
                    what = f"achievement {achievement.id} is in programme {seen[achievement.id]} as well"
                    path = ("programmes", i, "achievements", j, "id")
                    misfits.append(Misfit(path, what, "keep one, or give one that was never issued another id"))
                seen.setdefault(achievement.id, programme.id)
        refuse(misfits)
        return self

    @cached_property
    def achievements(self) -> dict[str, Achievement]:
        """All achievements by id, in the order of the files."""
        return {a.id: a for p in self.programmes for a in p.achievements}

    @cached_property
    def version(self) -> bytes:
        """SHA-256 (32 bytes) of everything the catalogue says."""
        return hashlib.sha256(self.model_dump_json().encode()).digest()

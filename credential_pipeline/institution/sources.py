"""Sources: the systems an institution's rows come from, and what their columns mean."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from credential_pipeline.institution.base import FieldName, Model, Slug, Text
from credential_pipeline.institution.checks import Gate, Reference


class Lookup(Model):
    """Complete a row from the one accepted row of another dataset whose fields match: `match: {here: there}`."""

    rule: Literal["lookup"]
    field: FieldName
    dataset: Text
    match: dict[FieldName, FieldName] = Field(min_length=1)
    take: FieldName


class WeightedMean(Model):
    """Mean of the matching accepted rows' `value`, by `weight`; plain where the weights sum to 0; empty without values.

    Rounded half to even to `decimals`, as text.
    """

    rule: Literal["weighted_mean"]
    field: FieldName
    dataset: Text
    match: dict[FieldName, FieldName] = Field(min_length=1)
    value: FieldName
    weight: FieldName
    decimals: int = Field(default=1, ge=0, le=6)


class CodeDate(Model):
    """A date written as a code (`2013J`): `pattern` names `year` and `term`, `terms` gives MM-DD; then `plus_days` of a field."""

    rule: Literal["code_date"]
    field: FieldName
    code: FieldName
    pattern: Text
    terms: dict[str, Annotated[str, Field(pattern=r"^\d\d-\d\d$")]] = Field(min_length=1)
    plus_days: FieldName | None = None

    @model_validator(mode="after")
    def _names_year_and_term(self) -> CodeDate:
        if not {"year", "term"} <= set(re.compile(self.pattern).groupindex):
            raise ValueError("pattern must name the groups (?P<year>...) and (?P<term>...)")
        return self


Derivation = Annotated[Lookup | WeightedMean | CodeDate, Field(discriminator="rule")]


class PersonRef(Model):
    """Whose row this is: `field` holds the person's key in `source` (the dataset's own source when not given)."""

    field: FieldName = "person"
    source: Slug | None = None


class Dataset(Model):
    """One kind of row of a source.

    role: `people` (a row is a person as this system knows them), `evidence` (a completion, a conferral:
    what earns something), `reference` (courses, marks: what other rows are checked with or completed from).
    `columns` maps our field names to their columns; columns not mapped are landed and otherwise left alone.
    """

    id: Slug
    role: Literal["people", "evidence", "reference"]
    files: Text
    columns: dict[FieldName, Text] = Field(min_length=1)
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    empty: tuple[str, ...] = ()
    person: PersonRef | None = None
    identifiers: dict[Slug, FieldName] = {}
    cross_references: dict[Slug, FieldName] = {}
    derive: tuple[Derivation, ...] = ()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _fields_exist(self) -> Dataset:
        known = set(self.columns)
        for step in self.derive:
            needed = (
                {step.code, *([step.plus_days] if step.plus_days else [])}
                if isinstance(step, CodeDate)
                else set(step.match)
            )
            self._must_know(needed - known, known)
            known.add(step.field)
        for check in self.gate.checks:
            self._must_know(set(check.subject.split(",")) - known, known)
        self._must_know((set(self.identifiers.values()) | set(self.cross_references.values())) - known, known)
        if self.role != "reference":
            ref = self.person or PersonRef()
            if ref.field not in known:
                raise ValueError(f"a dataset of {self.role} needs the person's key: map a column to `{ref.field}`")
        return self

    def _must_know(self, missing: set[str], known: set[str]) -> None:
        if missing:
            raise ValueError(
                f"no such field: {', '.join(sorted(missing))}; this dataset has {', '.join(sorted(known))}"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Mapped fields, then derived ones, in the order of the file."""
        return (*self.columns, *(step.field for step in self.derive))


class Source(Model):
    """A system, by the kind of connector that reads it. Its `id` is part of every person's source key: never rename it."""

    id: Slug
    kind: Literal["files"]
    name: Text
    system: Literal["lms", "sis", "hr", "crm", "other"] = "other"
    datasets: tuple[Dataset, ...] = Field(min_length=1)


class DatasetOfSource(Model):
    """A dataset with the source it belongs to, as the stages pass it around."""

    source: Source
    dataset: Dataset

    @property
    def name(self) -> str:
        """SOURCE.DATASET, as files and tables name it."""
        return f"{self.source.id}.{self.dataset.id}"

    @property
    def asset_suffix(self) -> str:
        """SOURCE__DATASET, as assets name it."""
        return f"{self.source.id}__{self.dataset.id}".replace("-", "_")

    @property
    def on_breach(self) -> Literal["stop", "set_aside"]:
        """What a batch-level breach does; without people everybody would get a second identity, so those stop the day."""
        return self.dataset.gate.on_breach or ("set_aside" if self.dataset.role == "evidence" else "stop")

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the datasets this one is checked with or completed from."""
        looked_up = [step.dataset for step in self.dataset.derive if not isinstance(step, CodeDate)]
        referred = [check.dataset for check in self.dataset.gate.checks if isinstance(check, Reference)]
        return tuple(dict.fromkeys([*looked_up, *referred]))

    @property
    def person(self) -> tuple[str, str]:
        """(source, field) of the key of the person a row is about."""
        ref = self.dataset.person or PersonRef()
        return ref.source or self.source.id, ref.field


def decimal_text(value: Decimal) -> str:
    """A decimal number as text, without exponent and without trailing zeros after the point."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

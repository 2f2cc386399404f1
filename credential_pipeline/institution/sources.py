"""Sources: the systems an institution's rows come from, and what their columns mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from credential_pipeline.institution.base import FieldName, Misfit, Model, Regex, Slug, Text, refuse, suggest
from credential_pipeline.institution.checks import Gate, Reference, Unique


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
    """A date written as a code (`2013J`): `pattern` names `year` and `term`, `terms` gives MM-DD; then `plus_days`."""

    rule: Literal["code_date"]
    field: FieldName
    code: FieldName
    pattern: Regex
    terms: dict[str, Annotated[str, Field(pattern=r"^\d\d-\d\d$", description="MM-DD")]] = Field(min_length=1)
    plus_days: FieldName | None = None

    @model_validator(mode="after")
    def _names_year_and_term(self) -> CodeDate:
        if missing := {"year", "term"} - set(re.compile(self.pattern).groupindex):
            what = f"pattern has no group named {' and '.join(sorted(missing))}"
            refuse([Misfit(("pattern",), what, "name the groups (?P<year>...) and (?P<term>...)")])
        return self


Derivation = Annotated[Lookup | WeightedMean | CodeDate, Field(discriminator="rule")]


class PersonRef(Model):
    """Whose row this is: `field` holds the person's key in `source` (the dataset's own source when not given)."""

    field: FieldName = "person"
    source: Slug | None = None


def _below_data(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("leaves the data directory; write a path below it, such as lms/completions*.csv")
    return value


class Dataset(Model):
    """One kind of row of a source.

    role: `people` (a row is a person as this system knows them), `evidence` (a completion, a conferral:
    what earns something), `reference` (courses, marks: what other rows are checked with or completed from).
    `columns` maps our field names to their columns; columns not mapped are landed and otherwise left alone.
    """

    id: Slug
    role: Literal["people", "evidence", "reference"]
    files: Annotated[
        Text, AfterValidator(_below_data), Field(description="file names below the data directory, with * and {day}")
    ]
    columns: dict[FieldName, Text] = Field(min_length=1)
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    empty: tuple[str, ...] = ()
    person: PersonRef | None = None
    identifiers: dict[Slug, FieldName] = Field(default_factory=dict)
    cross_references: dict[Slug, FieldName] = Field(default_factory=dict)
    derive: tuple[Derivation, ...] = ()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _fields_exist(self) -> Dataset:
        refuse(self._misfits())
        return self

    def _misfits(self) -> Iterator[Misfit]:
        known = set(self.columns)
        for i, step in enumerate(self.derive):
            for member, field in _read_by(step):
                yield from _unknown(("derive", i, *member), field, known)
            if step.field in known:
                what = f"the field {step.field} is there already"
                yield Misfit(("derive", i, "field"), what, "give the derived field a name of its own")
            known.add(step.field)
        for i, check in enumerate(self.gate.checks):
            if isinstance(check, Unique):
                for j, field in enumerate(check.fields):
                    yield from _unknown(("gate", "checks", i, "fields", j), field, known)
            else:
                yield from _unknown(("gate", "checks", i, "field"), check.field, known)
        for kind, named in (("identifiers", self.identifiers), ("cross_references", self.cross_references)):
            for key, field in named.items():
                yield from _unknown((kind, key), field, known)
        field = (self.person or PersonRef()).field
        if self.role != "reference" and field not in known:
            what = f"a dataset of {self.role} needs the person's key"
            yield Misfit(("columns",), what, f"map a column to `{field}`")

    @property
    def fields(self) -> tuple[str, ...]:
        """Mapped fields, then derived ones, in the order of the file."""
        return (*self.columns, *(step.field for step in self.derive))


def _read_by(step: Lookup | WeightedMean | CodeDate) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where a derivation names the fields of its own row that it reads."""
    if isinstance(step, CodeDate):
        yield ("code",), step.code
        if step.plus_days:
            yield ("plus_days",), step.plus_days
    else:
        for here in step.match:
            yield ("match", here), here


def _unknown(path: tuple[str | int, ...], field: str, known: set[str]) -> Iterator[Misfit]:
    if field not in known:
        yield Misfit(path, f"no such field: {field}", suggest(field, known, otherwise="this dataset has"))


class Source(Model):
    """A system, by the kind of connector that reads it. Its `id` is part of every source key: never rename it."""

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
        """What a batch-level breach does. Without people everybody would get a second identity: those stop the day."""
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

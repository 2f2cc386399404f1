"""Checks of a dataset's gate, as data: what an institution may demand of a row.

Belongs here: the words and their defaults (code and remedy of a failing row). Does not belong here: running
them; gate/expectations.py translates each into Great Expectations.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from credential_pipeline.institution.base import FieldName, Misfit, Model, Regex, Slug, Text, refuse

_Limited = TypeVar("_Limited", bound=Model)


def _in_order(check: _Limited, low: Decimal | date | int | None, high: Decimal | date | int | None) -> _Limited:
    if low is not None and high is not None and low > high:  # type: ignore[operator]  # both of one type
        refuse([Misfit(("max",), f"max {high} is below min {low}", "no value can pass: correct one of them")])
    return check


def _date_format(value: str) -> str:
    day = datetime(2001, 12, 31)  # noqa: DTZ001 - a day without a clock, whose year, month and day cannot be mixed up
    try:
        reads_back = datetime.strptime(day.strftime(value), value) == day  # noqa: DTZ007 - a day
    except ValueError:
        reads_back = False
    if not reads_back:
        raise ValueError("does not hold a whole date; write it with %Y, %m and %d, such as %d/%m/%Y")
    return value


class Check(Model):
    """What all checks share; `code` and `remedy` may be given to replace the check's own."""

    codes: ClassVar[Mapping[str, str]]
    """The check's default code, and what a clerk should do about it."""

    code: Slug | None = None
    remedy: Text | None = None

    @property
    def subject(self) -> str:
        """The field (or fields) a failing row is reported under."""
        raise NotImplementedError


class FieldCheck(Check):
    """A check of one field; empty values pass all of them but `required`."""

    field: FieldName

    @property
    def subject(self) -> str:
        """The field."""
        return self.field


class Required(FieldCheck):
    """The field must have a value."""

    codes: ClassVar[Mapping[str, str]] = {"required_missing": "fill in {field}"}
    check: Literal["required"]


class Length(FieldCheck):
    """Between `min` and `max` characters."""

    codes: ClassVar[Mapping[str, str]] = {"too_long": "shorten {field} to at most {max} characters"}
    check: Literal["length"]
    min: int = Field(default=0, ge=0)
    max: int = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Length:
        return _in_order(self, self.min, self.max)


class Pattern(FieldCheck):
    """The whole value matches a regular expression."""

    codes: ClassVar[Mapping[str, str]] = {"malformed": "write {field} in the form {pattern}"}
    check: Literal["pattern"]
    pattern: Regex


class Email(FieldCheck):
    """Looks like an address that mail can be sent to."""

    codes: ClassVar[Mapping[str, str]] = {"malformed_email": "correct the e-mail address in {field}, or leave it empty"}
    check: Literal["email"]


class Number(FieldCheck):
    """A finite decimal number between `min` and `max`."""

    codes: ClassVar[Mapping[str, str]] = {
        "not_a_number": "write {field} as a plain number with a decimal point, or leave it empty",
        "number_out_of_range": "{field} must be between {min} and {max}",
    }
    check: Literal["number"]
    min: Decimal | None = None
    max: Decimal | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Number:
        return _in_order(self, self.min, self.max)


class Date(FieldCheck):
    """A date in `format`, not before `min`, not after `max`; `future: false` also not after the day it arrived."""

    codes: ClassVar[Mapping[str, str]] = {
        "malformed_date": "write {field} as an existing date in the form {format}",
        "date_out_of_range": "{field} must lie between {min} and {max}",
    }
    check: Literal["date"]
    format: Annotated[Text, AfterValidator(_date_format)] = "%Y-%m-%d"
    min: date = date(1900, 1, 1)
    max: date | None = None
    future: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Date:
        return _in_order(self, self.min, self.max)


class OneOf(FieldCheck):
    """One of a closed set of values."""

    codes: ClassVar[Mapping[str, str]] = {"not_in_set": "{field} must be one of: {values}"}
    check: Literal["one_of"]
    values: tuple[Text, ...] = Field(min_length=1)


class Reference(FieldCheck):
    """The value exists in a field of another dataset's accepted rows: `to: SOURCE.DATASET.FIELD`."""

    codes: ClassVar[Mapping[str, str]] = {
        "unknown_reference": "correct {field}, or add it to {to} first; then offer the row again"
    }
    check: Literal["reference"]
    to: Annotated[str, Field(pattern=r"^[a-z0-9_-]+\.[a-z0-9_-]+\.[a-z0-9_]+$", description="SOURCE.DATASET.FIELD")]

    @property
    def dataset(self) -> str:
        """SOURCE.DATASET."""
        return self.to.rpartition(".")[0]

    @property
    def referred_field(self) -> str:
        """FIELD."""
        return self.to.rpartition(".")[2]


class Unique(Check):
    """No two accepted rows of a batch share these fields; rows that do and differ contradict each other."""

    codes: ClassVar[Mapping[str, str]] = {
        "contradicting_rows": "keep the row that is right and remove the others with the same {fields}"
    }
    check: Literal["unique"]
    fields: tuple[FieldName, ...] = Field(min_length=1)

    @property
    def subject(self) -> str:
        """The fields, joined."""
        return ",".join(self.fields)


AnyCheck = Annotated[
    Required | Length | Pattern | Email | Number | Date | OneOf | Reference | Unique,
    Field(discriminator="check"),
]


class Gate(Model):
    """What a dataset's rows must hold, and when the whole batch is refused.

    `reject_limit` is the share of bad rows above which the batch is a breach (1.0: never). `on_breach: stop`
    stops everything downstream of the dataset for that day (a blocking check); `set_aside` leaves this
    batch out and lets the other datasets of the day go on.
    """

    checks: tuple[AnyCheck, ...] = ()
    reject_limit: float = Field(default=0.2, gt=0, le=1)
    on_breach: Literal["stop", "set_aside"] | None = None

    @model_validator(mode="after")
    def _one_type_a_field(self) -> Gate:
        typed: dict[str, str] = {}
        misfits = []
        for position, check in enumerate(self.checks):
            if not isinstance(check, Number | Date):
                continue
            if check.field in typed:
                what = f"{check.field} has two checks of its type: {typed[check.field]} and {check.check}"
                misfits.append(Misfit(("checks", position, "field"), what, "keep one of them"))
            typed.setdefault(check.field, check.check)
        refuse(misfits)
        return self

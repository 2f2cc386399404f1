"""Checks as Great Expectations suites: first as data, then run over a chunk of rows.

Belongs here: what each check of institution.yaml demands, in the words of Great Expectations, and calling it.
Does not belong here: the database, and what becomes of a row that fails. `great_expectations` takes seconds to
import, so that happens when there are rows to judge.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from credential_pipeline.errors import Terminal
from credential_pipeline.gate.values import NUMBER
from credential_pipeline.institution.checks import (
    Check,
    Date,
    Email,
    FieldCheck,
    Length,
    Number,
    OneOf,
    Pattern,
    Reference,
    Required,
    Unique,
)
from credential_pipeline.institution.sources import DatasetOfSource

# Where JSON, RDF and XML libraries disagree (RFC 7493 2.1). Surrogates cannot arrive: the files are UTF-8.
UNREADABLE = (
    "[\\x00-\\x1f\\x7f-\\x9f\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)

_ATOM = r"""[^\s@<>()\[\],;:"\\.]+"""
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
EMAIL = rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}"
"""Dot-atom at a name with a dot, in any script (RFC 5321 4.5.3.1, RFC 6531); quoted local parts are refused."""

KNOWN = "known"


@dataclass(frozen=True)
class Demand:
    """One expectation, and what a row that does not meet it is told. An empty `field` means the whole row."""

    expectation: str
    arguments: Mapping[str, Any]
    code: str
    field: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A row (its position in the frame) that does not meet a demand."""

    position: int
    demand: Demand


def as_number(field: str) -> str:
    """The frame's column of a field's comparable numbers (numbers themselves, day numbers for dates)."""
    return f"{field} as number"


def as_known(field: str, to: str) -> str:
    """The frame's column that says whether a field's value is `known` in a field of another dataset.

    Not a set in the expectation: Great Expectations takes two minutes over a set of a million values.
    """
    return f"{field} in {to}"


def row_demands(dataset: DatasetOfSource, day: date) -> tuple[Demand, ...]:
    """What each row must hold by itself: the gate's own demands, then the checks in the order of the file."""
    demands = [
        Demand(
            "expect_column_values_to_not_match_regex",
            {"column": field, "regex": UNREADABLE},
            "control_characters",
            field,
            f"remove line breaks, control characters and noncharacters from {field}",
        )
        for field in dataset.dataset.columns
    ]
    if dataset.dataset.role != "reference":
        _, person = dataset.person
        demands += [
            _demand("not_be_null", Required(check="required", field=person)),
            _demand(
                "match_regex",
                Pattern(
                    check="pattern",
                    field=person,
                    pattern=r"\S+",
                    code="malformed",
                    remedy="remove the white space inside {field}",
                ),
                regex=r"\A\S+\Z",
            ),
        ]
    for check in dataset.dataset.gate.checks:
        demands += _demanded(check, day)
    return tuple(demands)


def unique_demands(dataset: DatasetOfSource) -> tuple[Demand, ...]:
    """What rows must hold among each other, asked of those that passed everything else."""
    found = []
    for check in dataset.dataset.gate.checks:
        if isinstance(check, Unique):
            one = len(check.fields) == 1
            found.append(
                Demand(
                    "expect_column_values_to_be_unique" if one else "expect_compound_columns_to_be_unique",
                    {"column": check.fields[0]} if one else {"column_list": list(check.fields)},
                    check.code or next(iter(check.codes)),
                    check.subject,
                    _remedy(check, next(iter(check.codes.values()))),
                )
            )
    return tuple(found)


def _demand(expectation: str, check: FieldCheck, code: str | None = None, **arguments: Any) -> Demand:
    code = code or next(iter(check.codes))
    return Demand(
        f"expect_column_values_to_{expectation}",
        {"column": check.field, **arguments},
        check.code or code,
        check.field,
        _remedy(check, check.codes[code]),
    )


def _demanded(check: Check, day: date) -> list[Demand]:  # noqa: PLR0911 - one return a check
    match check:
        case Required():
            return [_demand("not_be_null", check)]
        case Length():
            return [_length(check)]
        case Pattern():
            return [_demand("match_regex", check, regex=_whole(check.pattern))]
        case Email():
            return [_demand("match_regex", check, regex=_whole(EMAIL))]
        case Number():
            typed = _demand("match_regex", check, "not_a_number", regex=_whole(NUMBER))
            return [typed, *_bounds(check, "number_out_of_range", check.min, check.max, float)]
        case Date():
            return _date(check, day)
        case OneOf():
            return [_demand("be_in_set", check, value_set=list(check.values))]
        case Reference():
            return [_demand("be_in_set", check, column=as_known(check.field, check.to), value_set=[KNOWN])]
        case _:
            return []  # Unique: asked of the whole batch, by unique_demands


def _length(check: Length) -> Demand:
    remedy = check.codes["too_long"] if check.min == 0 else "write {field} with {min} to {max} characters"
    return Demand(
        "expect_column_value_lengths_to_be_between",
        {"column": check.field, "min_value": check.min, "max_value": check.max},
        check.code or "too_long",
        check.field,
        _remedy(check, remedy),
    )


def _date(check: Date, day: date) -> list[Demand]:
    latest = latest_date(check, day)
    return [
        _demand("match_strftime_format", check, "malformed_date", strftime_format=check.format),
        *_bounds(check.model_copy(update={"max": latest}), "date_out_of_range", check.min, latest, date.toordinal),
    ]


def _whole(pattern: str) -> str:
    flags = re.match(r"\(\?[aiLmsux]+\)", pattern)  # global flags stand first or nowhere
    opening = flags.group() if flags else ""
    return rf"{opening}\A(?:{pattern[len(opening) :]})\Z"


def latest_date(check: Date, day: date) -> date | None:
    """The last date a check lets through on a day."""
    return check.max if check.future else min(check.max or day, day)


def _bounds(check: Number | Date, code: str, low: Any, high: Any, number: Any) -> list[Demand]:
    # An expectation a bound: one with both refuses to run when they cross, as on a day before `min`.
    return [
        _demand("be_between", check, code, column=as_number(check.field), **{bound: float(number(value))})
        for bound, value in (("min_value", low), ("max_value", high))
        if value is not None
    ]


def _remedy(check: Check, default: str) -> str:
    remedy = check.remedy or default
    words = {"field": check.subject, "fields": check.subject.replace(",", ", ")}
    for name in ("min", "max", "pattern", "format", "to"):
        words[name] = str(getattr(check, name, ""))
    words["values"] = ", ".join(getattr(check, "values", ()))
    if isinstance(check, Number | Date) and remedy == check.codes.get(f"{check.check}_out_of_range"):
        if check.max is None:
            remedy = "{field} must not be " + ("below" if isinstance(check, Number) else "before") + " {min}"
        elif check.min is None:
            remedy = "{field} must not be above {max}"
    return re.sub(r"\{(\w+)\}", lambda word: words.get(word[1], word[0]), remedy)


class Suite:
    """Demands ready to be asked of frames, one after the other; writes no files and calls nobody."""

    def __init__(self, name: str, demands: Sequence[Demand]) -> None:
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        self._demands = tuple(demands)
        context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(),  # the default makes a directory for a site
                progress_bars=ProgressBarsConfig(globally=False),
                analytics_enabled=False,
            ),
        )
        source = context.data_sources.add_pandas(name)
        self._batches = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        self._suite = gx.ExpectationSuite(
            name,
            expectations=[
                ExpectationConfiguration(
                    type=demand.expectation,
                    kwargs=dict(demand.arguments),
                    meta={"number": number, "code": demand.code, "field": demand.field, "remedy": demand.remedy},
                ).to_domain_obj()
                for number, demand in enumerate(self._demands)
            ],
        )

    def findings(self, frame: pd.DataFrame) -> list[Finding]:
        """Rows that do not meet a demand, in the order of the demands. The frame is indexed 0, 1, 2, ...

        Raises:
            Terminal: Great Expectations could not evaluate a demand; a check must never pass by failing.
        """
        if not self._demands or frame.empty:
            return []
        # Python's regular expressions, not Arrow's: RE2 has no lookahead and reads \d and \w as ASCII.
        with pd.option_context("mode.string_storage", "python"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This pattern is interpreted as a regular expression")
            answer = self._batches.get_batch({"dataframe": frame}).validate(
                self._suite,
                result_format={
                    "result_format": "COMPLETE",
                    "include_unexpected_rows": False,
                    "exclude_unexpected_values": True,  # positions only: 20 times as fast as with values
                },
            )
        by_number: dict[int, list[int]] = {}
        for result in answer.results:
            number = result.expectation_config.meta["number"]  # type: ignore[union-attr]  # ours have one
            if _raised(result.exception_info):
                demand = self._demands[number]
                raise Terminal(
                    f"Great Expectations could not evaluate {demand.expectation} on {demand.field} ({demand.code});"
                    f" correct this check in institution.yaml: {_failure(result.exception_info)}"
                )
            by_number[number] = result.result["unexpected_index_list"]
        return [
            Finding(int(position), demand)
            for number, demand in enumerate(self._demands)
            for position in by_number[number]
        ]


def _raised(info: Mapping[str, Any]) -> bool:
    # Flat where nothing went wrong, nested by metric where something did.
    return any(nested.get("raised_exception") for nested in (info, *info.values()) if isinstance(nested, Mapping))


def _failure(info: Mapping[str, Any]) -> str:
    # The type of the first error only: its message may repeat a cell, and this text ends up in logs.
    nested = next((value for value in info.values() if isinstance(value, Mapping)), info)
    error = re.search(r"^(?!Traceback)[A-Za-z][\w.]*", str(nested.get("exception_traceback")), re.MULTILINE)
    return error.group() if error else "no reason given"

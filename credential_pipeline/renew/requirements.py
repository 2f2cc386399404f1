"""What the catalogue requires of a person before a credential is renewed: which rows meet it, and what is missing.

A row counts while it stands: of a dataset of people, and of evidence whose files are whole exports, that is while the
newest batch still has it; where each day brings a file of its own (`{day}`), whenever it was accepted. Belongs here:
asking the accepted rows and the ledger about a chunk of persons. Does not belong here: what a plan says (plan.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import day_of, subtract_period
from credential_pipeline.institution.catalogue import Achievement, Period, Requirement
from credential_pipeline.institution.sources import DatasetOfSource

NOT_MET = "requirement_not_met"
"""The reason to hold a renewal, followed by `:` and the requirement in the catalogue's words."""


@dataclass(frozen=True)
class Asked:
    """A renewal that requirements are asked for: whose, of which award, and the day its credential ends before."""

    award_id: UUID
    person_id: UUID
    ends: date


@dataclass
class Met:
    """How a renewal stands: what is missing, and what was found, as plan lines cite it."""

    missing: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    credits: list[str] = field(default_factory=list)

    @property
    def citations(self) -> dict[str, Any]:
        """The inputs of a plan line; nothing where nothing was required."""
        return {name: value for name, value in (("requires", self.rows), ("credits", self.credits)) if value}


class Requirements:
    """Asks the requirements of achievements at one instant, in one transaction."""

    def __init__(self, connection: Connection, institution: Institution, as_of: datetime) -> None:
        self._connection = connection
        self._institution = institution
        self._today = day_of(as_of, institution.zone)
        self._datasets = {dataset.name: dataset for dataset in institution.datasets}
        self._newest: dict[str, list[int]] = {}

    def ask(self, achievement: Achievement, asked: Sequence[Asked]) -> list[Met]:
        """How each of these renewals of one achievement stands."""
        met = [Met() for _ in asked]
        for required in achievement.renewal.requires if achievement.renewal else ():
            awards = self._credits(required, asked) if required.credits else {}
            rows = self._rows(required, asked) if required.dataset else {}
            for position, one in enumerate(met):
                one.credits += awards.get(position, ())
                one.rows += [rows[position]] if position in rows else []
                if position not in awards and position not in rows:
                    one.missing.append(f"{NOT_MET}:{required.label}")
        return met

    def _rows(self, required: Requirement, asked: Sequence[Asked]) -> dict[int, dict[str, Any]]:
        """Position -> the row that meets the requirement; of several dated ones, the latest."""
        dataset = self._datasets[str(required.dataset)]
        whole = _whole_export(dataset)
        conditions, parameters = _conditions(required)
        if whole:
            conditions += (
                " and exists (select from landed.file_row f where f.row_id = a.row_id"
                " and f.file_id + 0 = any(cast(:newest as bigint[])))"
            )
            parameters["newest"] = self._newest_files(dataset.name)
        # Person by person, by index: without the fences (`offset 0`, `|| ''`, `+ 0`) a planner that has no statistics
        # yet, as right after a bulk load, reads all rows of the dataset for each person (20,000 took two minutes).
        dated = "a.fields->>cast(:dated_on as text)" if required.dated_on else "cast(null as text)"
        rows = self._connection.execute(
            text(
                "select distinct on (d.position) d.position, f.hash"
                " from unnest(cast(:persons as uuid[]), cast(:since as text[]))"
                "  with ordinality as d(person_id, since, position)"
                " join identity.source_record r on r.person_id = d.person_id"
                f" cross join lateral (select encode(a.fields_hash, 'hex') as hash, {dated} as dated"
                "  from accepted.row a where a.source_key = r.source_key and a.dataset || '' = :dataset"
                f"  {conditions} offset 0) f"
                " order by d.position, f.dated desc, f.hash"
            ),
            {
                **parameters,
                "persons": [one.person_id for one in asked],
                "since": [_since(one, required.within) for one in asked],
                "dataset": dataset.name,
                "today": self._today.isoformat(),
            },
        )
        return {position - 1: {"fields": found, "newest": whole} for position, found in rows}

    def _newest_files(self, dataset: str) -> list[int]:
        if dataset not in self._newest:
            files = self._connection.scalars(
                text(
                    "select file_id from landed.batch_file where dataset = :dataset"
                    " and day = (select max(day) from landed.batch_file where dataset = :dataset)"
                ),
                {"dataset": dataset},
            )
            self._newest[dataset] = list(files)
        return self._newest[dataset]

    def _credits(self, required: Requirement, asked: Sequence[Asked]) -> dict[int, list[str]]:
        """Position -> the awards whose credits are enough. A credential does not pay for its own renewal."""
        assert required.credits is not None  # noqa: S101 - for the type checker
        worth = {a.id: a.credits for a in self._institution.catalogue.achievements.values() if a.credits}
        rows = self._connection.execute(
            text(
                "select d.position, array_agg(cast(w.award_id as text) order by w.award_id)"
                " from unnest(cast(:persons as uuid[]), cast(:awards as uuid[]), cast(:since as date[]))"
                "  with ordinality as d(person_id, award_id, since, position)"
                " join ledger.award w on w.person_id = d.person_id and w.duplicate_of is null"
                "  and w.award_id <> d.award_id"
                " join ledger.credential c on c.award_id = w.award_id"
                "  and c.awarded_on between d.since and cast(:today as date)"
                " join ledger.credential_state s on s.credential_id = c.credential_id and s.state = 'current'"
                " join unnest(cast(:earning as text[]), cast(:credits as numeric[])) k(achievement, credits)"
                "  on k.achievement = c.achievement"
                " group by d.position having sum(k.credits) >= :least"
            ),
            {
                "persons": [one.person_id for one in asked],
                "awards": [one.award_id for one in asked],
                "since": [_since(one, required.credits.within) for one in asked],
                "today": self._today,
                "earning": list(worth),
                "credits": list(worth.values()),
                "least": required.credits.at_least,
            },
        )
        return {position - 1: awards for position, awards in rows}


def _conditions(required: Requirement) -> tuple[str, dict[str, Any]]:
    conditions, parameters = "", dict[str, Any]()
    for n, (name, values) in enumerate(required.where.items()):
        conditions += f" and a.fields->>cast(:field_{n} as text) = any(:values_{n})"
        parameters |= {f"field_{n}": name, f"values_{n}": list(values)}
    if required.dated_on:
        # As text: accepted dates are ISO 8601, and a row from before the gate checked this field must not stop all.
        conditions += " and a.fields->>cast(:dated_on as text) between d.since and :today"
        parameters["dated_on"] = required.dated_on
    return conditions, parameters


def _since(one: Asked, within: Period | None) -> str:
    return (subtract_period(one.ends, within) if within else date.min).isoformat()


def _whole_export(dataset: DatasetOfSource) -> bool:
    return dataset.dataset.role == "people" or "{day}" not in dataset.dataset.files

"""What the SQL models are, for those who load, build, test and show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from credential_pipeline.report.model_sql import METRICS, Materialized


@dataclass(frozen=True)
class Column:
    """A column of a model and what it means."""

    name: str
    description: str


@dataclass(frozen=True)
class Model:
    """A SELECT that becomes `metrics.NAME`; refs are models it reads, sources are tables as SCHEMA.TABLE."""

    name: str
    file: Path
    sql: str
    materialized: Materialized
    description: str
    columns: tuple[Column, ...]
    refs: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def relation(self) -> str:
        """Its name in SQL."""
        return f"{METRICS}.{self.name}"


@dataclass(frozen=True)
class ModelTest:
    """A SELECT whose every row is a failure. `column` is None for a test of the folder tests/."""

    name: str
    model: str
    column: str | None
    description: str
    file: Path
    sql: str


@dataclass(frozen=True)
class Project:
    """A folder of models, each after those it reads, and their tests."""

    directory: Path
    models: tuple[Model, ...]
    tests: tuple[ModelTest, ...]


@dataclass(frozen=True)
class ModelResult:
    """A model as built; `rows` is None for a view, which has none of its own."""

    name: str
    rows: int | None
    seconds: float


@dataclass(frozen=True)
class TestResult:
    """How many rows of a test's SELECT came back; none is what it asks for."""

    name: str
    model: str
    column: str | None
    failures: int
    sql: str

"""One file of SQL with dbt's templates -> plain SQL that is exactly one SELECT, and what it reads.

Belongs here: rendering (sandboxed: a template reaches nothing but ref, source, config and var) and checking the
result without a database. Does not belong here: how the files of a project fit together (models.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from credential_pipeline.report.model_schema import ModelError

METRICS = "metrics"
"""The schema that models are built into."""

Materialized = Literal["table", "view"]


@dataclass(frozen=True)
class Statement:
    """A rendered SELECT: its output columns, the models and the tables (SCHEMA.TABLE) it reads."""

    sql: str
    materialized: Materialized
    columns: tuple[str, ...]
    refs: tuple[str, ...]
    sources: tuple[str, ...]


class _MisuseError(ValueError):
    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


@dataclass(frozen=True)
class Templates:
    """What templates of a project may name.

    Attributes:
        models: names for ref().
        sources: (source, table) -> SCHEMA.TABLE, for source().
        variables: for var().
    """

    models: Collection[str]
    sources: Mapping[tuple[str, str], str]
    variables: Mapping[str, str]

    def read(self, path: Path, shown: Path) -> Statement:
        """Render and check a file; `shown` is the name that errors give it.

        Raises:
            ModelError: with the file, the line, and what to do.
        """
        calls = _Calls(self)
        sql = self._render(path, shown, calls)
        columns = _one_select(sql, shown, {*calls.refs.values(), *calls.sources})
        return Statement(sql, calls.materialized, columns, tuple(calls.refs), tuple(calls.sources))

    def _render(self, path: Path, shown: Path, calls: _Calls) -> str:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        functions: dict[str, Callable[..., str]] = {
            "ref": calls.ref, "source": calls.source, "config": calls.config, "var": calls.var
        }  # fmt: skip
        try:
            text = path.read_text(encoding="utf-8")
            code = environment.compile(text, name=shown.name, filename=str(path))
            return Template.from_code(environment, code, functions).render()
        except UnicodeDecodeError as error:
            raise ModelError(shown, None, "is not UTF-8", "save the file as UTF-8") from error
        except TemplateSyntaxError as error:
            raise ModelError(shown, error.lineno, f"{error.message}", "correct the template") from error
        except _MisuseError as error:
            raise ModelError(shown, _line_in(error, path), error.what, error.remedy) from error
        except (TemplateError, TypeError) as error:
            remedy = "a template has ref('x'), source('x', 'y'), config(materialized='table'), var('x') and no more"
            raise ModelError(shown, _line_in(error, path), str(error), remedy) from error


class _Calls:
    """The functions of one file's template; remembers what they were asked."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self.refs: dict[str, str] = {}
        self.sources: dict[str, None] = {}
        self.materialized: Materialized = "view"  # dbt's own default

    def ref(self, name: str) -> str:
        if name not in self._templates.models:
            raise _MisuseError(f"ref('{name}'): no such model", "write the name of a .sql file below models/")
        return self.refs.setdefault(name, f"{METRICS}.{name}")

    def source(self, source: str, table: str) -> str:
        try:
            relation = self._templates.sources[source, table]
        except KeyError:
            raise _MisuseError(f"source('{source}', '{table}'): no such table", "name it in a sources.yml") from None
        self.sources[relation] = None
        return relation

    def config(self, *, materialized: str) -> str:
        if materialized not in ("table", "view"):
            raise _MisuseError(f"materialized='{materialized}'", "write 'table' or 'view'")
        self.materialized = "table" if materialized == "table" else "view"
        return ""

    def var(self, name: str, default: str | None = None) -> str:
        value = self._templates.variables.get(name, default)
        if value is None:
            raise _MisuseError(f"var('{name}') has no value", "give it one below `vars` in dbt_project.yml")
        return value


def _line_in(error: BaseException, path: Path) -> int | None:
    # jinja2 rewrites tracebacks so that frames of a template carry its own file name and line.
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _one_select(sql: str, shown: Path, relations: Collection[str]) -> tuple[str, ...]:
    """The output columns of a SELECT that reads only `relations`."""
    # 0.1 s to import, and only who loads models needs it.
    from sqlglot import Dialect, exp
    from sqlglot.errors import SqlglotError

    postgres = Dialect.get_or_raise("postgres")
    try:
        tokens = postgres.tokenize(sql)
        semicolon = next((token for token in tokens if token.token_type.name == "SEMICOLON"), None)
        if semicolon is not None:
            raise ModelError(shown, semicolon.line, "has a semicolon", "a model is one SELECT without a semicolon")
        tree = next(iter(postgres.parser().parse(tokens, sql)), None)
    except SqlglotError as error:
        details: dict[str, Any] = next(iter(getattr(error, "errors", [])), {})
        what = f"is not SQL: {details.get('description') or error}"
        raise ModelError(shown, details.get("line"), what, "correct the SELECT") from error
    writing = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command)
    if not isinstance(tree, exp.Query) or any(not isinstance(node, exp.Query) for node in tree.find_all(*writing)):
        raise ModelError(shown, None, "is not a SELECT that only reads", "a model is exactly one SELECT")
    _reads_only(tree, shown, relations)
    columns = tuple(c.alias_or_name if isinstance(c, (exp.Alias, exp.Column, exp.Star)) else "" for c in tree.selects)
    if not all(columns) or "*" in columns or len(set(columns)) < len(columns):
        remedy = "name each column once, with `as NAME` after an expression, and write no `*`"
        raise ModelError(shown, None, f"has columns {', '.join(c or '(no name)' for c in columns)}", remedy)
    return columns


def _reads_only(tree: Any, shown: Path, relations: Collection[str]) -> None:
    from sqlglot import exp

    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        name = f"{table.db}.{table.name}" if table.db else table.name
        # A function in FROM has no identifier.
        if isinstance(table.this, exp.Identifier) and name not in relations and (table.db or name not in own):
            raise ModelError(
                shown, table.this.meta.get("line"), f"reads {name} by its name", "write ref('x') or source('x', 'y')"
            )

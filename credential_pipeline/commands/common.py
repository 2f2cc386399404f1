"""What all commands share: options, printing, exit codes.

With `--json` the last line of stdout is one JSON object and everything else goes to stderr. Exit codes: 0 done and
in order, 1 done and something is not (invalid, set aside, not reconciled), 2 the command or configuration is wrong.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from credential_pipeline.settings import load_settings

NOT_IN_ORDER = 1
WRONG = 2


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options every command has; the command gets `settings` (loaded) and `as_json`."""

    @click.option("--institution", type=click.Path(path_type=Path), help="Institution directory [samples/northfield].")
    @click.option("--home", type=click.Path(path_type=Path), help="All local state: database, site, secrets [.local].")
    @click.option("--json", "as_json", is_flag=True, help="Last line of stdout is one JSON object.")
    @wraps(command)
    def with_settings(institution: Path | None, home: Path | None, as_json: bool, **rest: Any) -> Any:
        settings = load_settings(institution=institution, home=home, data=rest.get("data"), environ=os.environ)
        return command(settings=settings, as_json=as_json, **rest)

    return with_settings


def say(line: str = "") -> None:
    """A line for a person; stdout stays free for what a program reads."""
    click.echo(line, err=True)


def finish(result: dict[str, Any], as_json: bool, text: str, *, in_order: bool = True) -> NoReturn:
    """Print the result for a program or for a person, and exit."""
    if as_json:
        if text:
            say(text)
        click.echo(json.dumps(result, ensure_ascii=False, default=str))
    elif text:
        click.echo(text)
    sys.exit(0 if in_order else NOT_IN_ORDER)


class Day(click.ParamType[date]):
    """YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day, or a usage error."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as YYYY-MM-DD", param, ctx)

"""The command line as a test calls it: from the shell or in this process, and no secret in anything it says.

Belongs here: calling a command and what it told. Does not belong here: what it should have told.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from credential_pipeline.cli import main
from credential_pipeline.settings import DEVELOPMENT_PASSPHRASE

REPOSITORY = Path(__file__).parent.parent  # not from conftest.py, which imports this module

PASSPHRASE = "correct horse battery staple of a college"
PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


@dataclass(frozen=True)
class Told:
    """How a command ended and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> Any:
        """The one JSON object, which is all of stdout."""
        (line,) = self.stdout.splitlines()
        return json.loads(line)


def checked(told: Told, arguments: tuple[str, ...]) -> Told:
    """Every output of every test: no passphrase, no password of a URL, no traceback."""
    own = "" if arguments[0] == "database-url" else told.stdout
    for said in (own, told.stderr):
        assert PASSPHRASE not in said
        assert DEVELOPMENT_PASSPHRASE not in said
        assert not PASSWORD.search(said)
        assert "Traceback" not in said
    return told


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    ours = ("CREDENTIAL_PIPELINE_", "DAGSTER")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **{f"CREDENTIAL_PIPELINE_{name}": value for name, value in environ.items()}}


def shell(*arguments: str, cwd: Path = REPOSITORY, **environ: str) -> Told:
    """A process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "credential_pipeline", *arguments],
        cwd=cwd, env=environment(environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return checked(Told(done.returncode, done.stdout, done.stderr), arguments)


def call(*arguments: str, **environ: str) -> Told:
    """The same in this process: start-up costs 4 seconds, and most tests are not about it."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        for name in [n for n in os.environ if n.startswith("CREDENTIAL_PIPELINE_")]:
            patch.delenv(name)
        for name in ("DAGSTER_HOME", "CREDENTIAL_PIPELINE_DAGSTER_URL"):  # a run sets them; taken back here
            patch.setenv(name, "")
        for name, value in environ.items():
            patch.setenv(f"CREDENTIAL_PIPELINE_{name}", value)
        patch.setattr(sys, "argv", ["credential-pipeline", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            logging.captureWarnings(False)
    return checked(Told(code, out.getvalue(), err.getvalue()), arguments)


def leaves(group: click.Group, above: str = "") -> dict[str, click.Command]:
    """Every command that does something by its words: `plan`, `plan list`, ..."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = f"{above} {name}".strip()
        if not isinstance(command, click.Group) or command.invoke_without_command:
            found[words] = command
        if isinstance(command, click.Group):
            found |= leaves(command, words)
    return found

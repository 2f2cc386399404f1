"""Houses that last for all tests of a module: a run of a whole sample is paid for once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from credential_pipeline.settings import load_settings
from credential_pipeline.store.embedded import ensure_running
from credential_pipeline.store.postgres import lock_number
from credential_pipeline_tests.conftest import ROLE, SERVER, _administrator
from credential_pipeline_tests.e2e.conftest import REPOSITORY, House


@contextmanager
def lasting_houses(server_url: str, template: str, directory: Path) -> Iterator[Callable[..., House]]:
    """A function like the fixture `new_house`; homes lie in `directory`, databases go when the block ends."""
    made: list[str] = []

    def make(institution: Path | str = "northfield", *, data: Path | None = None) -> House:
        name = f"t_{uuid.uuid4().hex}"
        with _administrator(server_url) as admin:
            admin.execute(text("select pg_advisory_lock(:k)"), {"k": lock_number("test template")})
            admin.execute(text(f'create database "{name}" template "{template}"'))
        made.append(name)
        url = ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False).url(name, role=ROLE)
        settings = load_settings(
            institution=REPOSITORY / "samples" / institution if isinstance(institution, str) else institution,
            home=directory / f"home-{len(made)}",
            data=data,
            environ={"CREDENTIAL_PIPELINE_DATABASE_URL": url},
        )
        return House(settings)

    with pytest.MonkeyPatch.context() as patch:
        for variable in ("CREDENTIAL_PIPELINE_DAGSTER_URL", "DAGSTER_HOME"):
            patch.setenv(variable, "set by the run; taken back when the module ends")
        yield make
    with _administrator(server_url) as admin:
        for name in made:
            admin.execute(text(f'drop database if exists "{name}" with (force)'))

"""Houses that last for all tests of a module: a run of a whole sample is paid for once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from credential_pipeline.settings import load_settings
from credential_pipeline_tests.databases import lent
from credential_pipeline_tests.e2e.conftest import REPOSITORY, House


@contextmanager
def lasting_houses(server_url: str, template: str, directory: Path) -> Iterator[Callable[..., House]]:
    """A function like the fixture `new_house`; homes lie in `directory`, databases go back when the block ends."""
    with ExitStack() as borrowed, pytest.MonkeyPatch.context() as patch:
        for variable in ("CREDENTIAL_PIPELINE_DAGSTER_URL", "DAGSTER_HOME"):
            patch.setenv(variable, "set by the run; taken back when the module ends")
        number = count(1)

        def make(institution: Path | str = "northfield", *, data: Path | None = None) -> House:
            settings = load_settings(
                institution=REPOSITORY / "samples" / institution if isinstance(institution, str) else institution,
                home=directory / f"home-{next(number)}",
                data=data,
                environ={"CREDENTIAL_PIPELINE_DATABASE_URL": borrowed.enter_context(lent())},
            )
            return House(settings)

        yield make

"""The starter that `init` writes, run once from the shell with the embedded server, for tests of the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from credential_pipeline.store import embedded
from credential_pipeline_tests.terminal import PASSPHRASE, Told, call, shell

DATED = ("--day", "2026-03-02", "--as-of", "2026-03-02T10:00:00Z")
AT = ("--at", "2026-03-02T12:00:00Z")


@dataclass(frozen=True)
class College:
    """A starter institution that has run once; `site` is a copy of what that run published."""

    directory: Path
    home: Path
    first: Told
    site: Path

    def call(self, *arguments: str) -> Told:
        return call(*arguments, "--institution", str(self.directory), "--home", str(self.home), PASSPHRASE=PASSPHRASE)

    @property
    def credentials(self) -> list[Path]:
        return sorted((self.site / "credentials").glob("*.json"))


@pytest.fixture(scope="session")
def college(tmp_path_factory: pytest.TempPathFactory) -> Iterator[College]:
    top = tmp_path_factory.mktemp("command-line")
    directory, home = top / "Riverside College", top / "home"
    try:
        assert shell("init", "Riverside College", cwd=top).code == 0
        # The server is left running by this command, so that the others need not start one each.
        url = shell(
            "database-url", "--institution", str(directory), "--home", str(home), cwd=top, PASSPHRASE=PASSPHRASE
        )
        assert url.code == 0, url.stderr
        first = shell(
            "run", "--json", *DATED, "--institution", "Riverside College", "--home", "home",
            cwd=top, PASSPHRASE=PASSPHRASE,
        )  # fmt: skip
        shutil.copytree(home / "site", top / "site")
        yield College(directory, home, first, top / "site")
    finally:
        embedded.stop(home / "postgres", mode="immediate")

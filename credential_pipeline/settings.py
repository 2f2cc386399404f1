"""The only reader of the environment: which institution, where its state is, how the database and secrets are reached.

Belongs here: variables, their defaults, and refusing what would surprise later. Does not belong here: what the files
of an institution say (institution/), and opening anything (store/). Explicit arguments win over the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.base import suggest
from credential_pipeline.institution.load import load_institution

PREFIX = "CREDENTIAL_PIPELINE_"
VARIABLES: Mapping[str, str] = {
    "INSTITUTION": "the institution's directory; default samples/northfield",
    "HOME": "all local state: embedded database, site, secrets, Dagster home; default .local",
    "DATA": "the directory of the sources' files; default `data` of institution.yaml",
    "DATABASE_URL": "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; default an embedded server in HOME",
    "DATABASE_OWNER_URL": "the same database for the role that owns the schemas and runs migrations",
    "DAGSTER_URL": "Dagster's own storage, for dagster.yaml; `run` and `dev` set it themselves",
    "SECRETS": "the secrets directory; default HOME/secrets",
    "WORKERS": "processes that sign in long work; default the cores this process may use, 1 signs in process",
    "PASSPHRASE": "what the secrets directory is encrypted with",
}
"""What may be set, each behind PREFIX."""

MOST_WORKERS = 256

DEVELOPMENT_PASSPHRASE = "samples only: everybody knows this passphrase"  # noqa: S105 - it protects nothing, by name
"""What institutions with `sample: true` fall back to, and no other institution may use."""


class SettingsError(Terminal):
    """The environment or an option is not right. The message names variables, never their values."""


class Passphrase:
    """A passphrase that repr(), str() and formatting do not show."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The passphrase itself, as UTF-8."""
        return self._value.encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passphrase) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Passphrase(***)"


@dataclass(frozen=True)
class Settings:
    """Everything a process needs to know before it opens anything. All paths are absolute.

    Attributes:
        institution_dir: the directory of institution.yaml.
        home: all local state.
        data: the sources' files.
        database_url: of the application role; None is the embedded server in `home`.
        database_owner_url: of the role that migrates, when it is another one.
        secrets: the secrets directory.
        passphrase: what it is encrypted with.
        institution: the institution, read and checked.
        workers: how many processes sign in long work; 1 signs in this one.
    """

    institution_dir: Path
    home: Path
    data: Path
    database_url: str | None = field(repr=False)
    database_owner_url: str | None = field(repr=False)
    secrets: Path
    passphrase: Passphrase
    institution: Institution = field(repr=False)
    workers: int = 1


def load_settings(
    *,
    institution: Path | None = None,
    home: Path | None = None,
    data: Path | None = None,
    environ: Mapping[str, str],
) -> Settings:
    """Settings from explicit arguments, then the environment, then the defaults.

    Relative paths of arguments and variables begin at the current directory, `data` in institution.yaml at the
    institution's. A variable that is set but empty counts as not set.

    Raises:
        SettingsError: an unknown CREDENTIAL_PIPELINE_ variable, a missing passphrase, a database URL without a use.
        InstitutionError: the institution's files are not right.
    """
    given = _given(environ)
    directory = institution_directory(institution, environ)
    typed = load_institution(directory)
    home = _path(home, given.get("HOME")) or Path(".local").absolute()
    return Settings(
        institution_dir=directory,
        home=home,
        data=_path(data, given.get("DATA")) or directory / typed.data,
        database_url=_database_url(given, "DATABASE_URL"),
        database_owner_url=_database_url(given, "DATABASE_OWNER_URL"),
        secrets=_path(None, given.get("SECRETS")) or home / "secrets",
        passphrase=_passphrase(typed, given.get("PASSPHRASE")),
        institution=typed,
        workers=_workers(given.get("WORKERS")),
    )


def institution_directory(institution: Path | None, environ: Mapping[str, str]) -> Path:
    """The directory that an argument names, or the environment, or the default; nothing of it is read."""
    return _path(institution, _given(environ).get("INSTITUTION")) or default_institution()


def default_institution() -> Path:
    """samples/northfield of the repository this package lies in, or of the current directory when installed."""
    sample = Path("samples") / "northfield"
    in_repository = Path(__file__).absolute().parent.parent / sample
    return in_repository if in_repository.is_dir() else sample.absolute()


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    names = [name for name in environ if name.startswith(PREFIX)]
    known = {PREFIX + name for name in VARIABLES}
    problems = [
        f"{name} is not a variable of this program; {suggest(name, known, otherwise='unset it; there are')}"
        for name in sorted(set(names) - known)
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    given = {name.removeprefix(PREFIX): environ[name] for name in names if environ[name]}
    if "DATABASE_OWNER_URL" in given and "DATABASE_URL" not in given:
        raise SettingsError(
            f"{PREFIX}DATABASE_OWNER_URL is set and {PREFIX}DATABASE_URL is not: set both, or neither for the embedded "
            "server"
        )
    return given


def _workers(value: str | None) -> int:
    if value is None:
        return cores()
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= MOST_WORKERS):
        raise SettingsError(f"{PREFIX}WORKERS is not a number from 1 to {MOST_WORKERS}: leave it out for one a core")
    return int(value)


def cores() -> int:
    """How many cores this process may use: fewer than the machine has in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _path(argument: Path | None, variable: str | None) -> Path | None:
    if argument is not None:
        return argument.absolute()
    return Path(variable).absolute() if variable is not None else None


def _database_url(given: Mapping[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is not None and not url.startswith(("postgresql://", "postgresql+")):
        raise SettingsError(
            f"{PREFIX}{name} is not a URL of PostgreSQL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return url


def _passphrase(institution: Institution, value: str | None) -> Passphrase:
    variable = f"{PREFIX}PASSPHRASE"
    if value is None and not institution.sample:
        raise SettingsError(
            f"{variable} is not set: the signing key and the other secrets of {institution.id} are encrypted with it. "
            "Set it to a long random text, the same one for every run, and keep a copy of it apart from the backups; "
            "only samples (`sample: true`) do without"
        )
    if value == DEVELOPMENT_PASSPHRASE and not institution.sample:
        raise SettingsError(
            f"{variable} is the development passphrase of the samples, which everybody can read: whoever has a copy of "
            f"the secrets directory could sign as {institution.id}. Set it to a long random text of your own"
        )
    return Passphrase(value or DEVELOPMENT_PASSPHRASE)

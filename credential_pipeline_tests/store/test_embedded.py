"""The embedded PostgreSQL: one server a directory, whatever was killed, copied or taken before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.accounts import Account, server_account
from credential_pipeline.store.embedded import (
    APPLICATION_ROLE,
    DATABASE,
    OWNER_ROLE,
    SUPERUSER,
    Server,
    ensure_running,
    is_running,
    stop,
)
from credential_pipeline.store.postmaster import program

ROOT = os.geteuid() == 0

START = "\n".join(
    [
        "import sys; from pathlib import Path",
        "from credential_pipeline.errors import Terminal",
        "from credential_pipeline.store.embedded import ensure_running",
        "try: print(ensure_running(Path(sys.argv[1]), durable=False).port)",
        "except Terminal as error: sys.exit(str(error))",
    ]
)


@pytest.fixture
def start() -> Iterator[Callable[[Path], Server]]:
    directories: list[Path] = []

    def run(directory: Path) -> Server:
        directories.append(directory)
        return ensure_running(directory, durable=False)

    yield run
    for directory in directories:
        stop(directory, "immediate")


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_server(directory: Path) -> None:
    """Kill the postmaster and wait for it to go: init reaps it, or it stays a zombie without a directory."""
    pid = postmaster(directory)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(directory))


def start_elsewhere(directory: Path, *, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", START, str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_rows_survive_stop_and_start_on_the_same_port(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "home" / 'Universität "$HOME" 大学' / "postgres"
    first = start(directory)
    assert is_running(directory)
    assert ensure_running(directory) == first
    query(first.url(DATABASE, OWNER_ROLE), "create table public.kept as select 7 as n")
    stop(directory)
    assert not is_running(directory)
    stop(directory)
    assert start(directory) == first
    assert query(first.url(DATABASE, OWNER_ROLE), "select n from public.kept") == [(7,)]


def test_roles_and_database(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    server = start(tmp_path / "postgres")
    application, owner = server.url(DATABASE, APPLICATION_ROLE), server.url(DATABASE, OWNER_ROLE)
    query(application, "create table public.runs (n int)")
    query(owner, "create schema ledger")
    for forbidden in ("create schema mine", "create database mine", "create role mine", "select * from pg_authid"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(application, forbidden)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query(application.replace(f"{APPLICATION_ROLE}:", f"{SUPERUSER}:"), "select 1")
    settings = (
        "listen_addresses unix_socket_directories synchronous_commit data_checksums server_encoding max_connections"
    )
    shown = {name: query(server.url(), f"show {name}")[0][0] for name in settings.split()}
    assert list(shown.values()) == ["127.0.0.1", "", "on", "on", "UTF8", "200"]
    assert query(server.url(DATABASE), "select upper('é'), 'Z' < 'a'") == [("É", True)]


def test_durable_is_the_default(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    start(directory)
    stop(directory)
    server = ensure_running(directory)
    assert query(server.url(), "show fsync") == [("on",)]
    assert query(server.url(), "show full_page_writes") == [("on",)]


def test_passwords_are_private_and_never_shown(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    server = start(directory)
    log = (directory / "postgres.log").read_text()
    for role in (SUPERUSER, OWNER_ROLE, APPLICATION_ROLE):
        path = directory / f"password.{role}"
        password = path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(password) >= 40
        assert f":{password}@127.0.0.1:{server.port}/" in server.url(DATABASE, role)
        assert password not in log + repr(server)
    with pytest.raises(Terminal, match="role nobody"):
        server.url(DATABASE, "nobody")


def test_two_processes_start_one_server_that_outlives_them(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    processes = [start_elsewhere(directory) for _ in range(2)]
    # communicate() returns only when nobody holds the pipes open any more, the server included.
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {int(out) for out, _ in outputs} == {start(directory).port}
    assert (directory / "postgres.log").read_text().count("starting PostgreSQL") == 1
    pid = postmaster(directory)
    assert os.getsid(pid) == pid


def test_killed_server_recovers_its_rows(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    server = start(directory)
    query(server.url(DATABASE, OWNER_ROLE), "create table public.kept as select generate_series(1, 1000) as n")
    os.kill(postmaster(directory), signal.SIGKILL)
    again = start(directory)
    assert query(again.url(DATABASE, OWNER_ROLE), "select count(*) from public.kept") == [(1000,)]


def test_killed_initialisation_starts_afresh(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    with start_elsewhere(directory) as process:
        wait_until(lambda: (directory / "new" / "data").exists() or (directory / "data").exists())
        process.kill()
    server = start(directory)
    assert query(server.url(DATABASE, APPLICATION_ROLE), "select 1") == [(1,)]
    assert not (directory / "new").exists()


@pytest.mark.parametrize("whose", ["unrelated", "zombie", "another postgres", "empty file"])
def test_stale_pid_file(tmp_path: Path, start: Callable[[Path], Server], whose: str) -> None:
    directory = tmp_path / "postgres"
    start(directory)
    pid_file = directory / "data" / "postmaster.pid"
    content = pid_file.read_text().splitlines()
    kill_server(directory)
    # PostgreSQL takes a pid seriously only when it may signal it: the process has the account of the server.
    account = pid_file.stat().st_uid if ROOT else None
    bystander = subprocess.Popen(["sleep", "300"], user=account, cwd="/")
    try:
        pid = bystander.pid
        if whose == "zombie":
            bystander.kill()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        elif whose == "another postgres":
            start(tmp_path / "other")
            pid = postmaster(tmp_path / "other")
        pid_file.write_text("" if whose == "empty file" else "\n".join([str(pid), *content[1:], ""]))
        assert not is_running(directory)
        stop(directory)
        server = start(directory)
        assert query(server.url(DATABASE, APPLICATION_ROLE), "select 1") == [(1,)]
        assert postmaster(directory) != pid
        if whose == "unrelated":
            assert bystander.poll() is None
        if whose == "another postgres":
            assert is_running(tmp_path / "other")
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_holds_the_directory_is_waited_for(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    start(directory)
    pid = postmaster(directory)
    os.kill(pid, signal.SIGSTOP)
    port = directory / "port"
    known = port.read_text()
    try:
        port.write_text("1")  # nobody listens there: the answer fails at once
        with pytest.raises(Transient, match="does not answer"):
            ensure_running(directory, timeout_s=0.5)
    finally:
        port.write_text(known)
        os.kill(pid, signal.SIGCONT)
    assert postmaster(directory) == pid
    assert is_running(directory)


def test_taken_port_is_left_to_its_new_owner(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    port = start(ours).port
    stop(ours)
    other.mkdir()
    (other / "port").write_text(str(port))
    assert start(other).port == port
    assert not is_running(ours)
    assert start(ours).port != port
    assert is_running(other)


def test_copy_of_a_directory_is_another_server(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    ours, copy = tmp_path / "ours", tmp_path / "copy"
    start(ours)
    stop(ours)
    shutil.copytree(ours, copy)  # as root the copy belongs to root
    server = start(ours)
    assert not is_running(copy)  # same port and same password, another directory
    assert start(copy).port != server.port
    assert query(start(copy).url(DATABASE, APPLICATION_ROLE), "select 1") == [(1,)]


def test_refusal_names_reason_and_log(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    directory = tmp_path / "postgres"
    start(directory)
    stop(directory)
    configuration = directory / "data" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "\nno_such_setting = 1\n")
    with pytest.raises(Terminal, match=r"refuses to start: .*contains errors.*postgres\.log"):
        ensure_running(directory)
    configuration.write_text(good)
    assert start(directory)


def test_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("")
    with pytest.raises(Terminal, match="cannot be used"):
        ensure_running(tmp_path / "postgres")


def test_directory_of_another_account(tmp_path: Path) -> None:
    directory = tmp_path / "postgres"
    directory.mkdir()
    directory.chmod(0)
    try:
        if ROOT:
            assert not is_running(directory)
        else:
            with pytest.raises(Terminal, match="belongs to another account"):
                is_running(directory)
    finally:
        directory.chmod(0o700)


def effective_capabilities(pid: int) -> int:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["CapEff"], 16)


def test_closed_parent_directory(tmp_path: Path, start: Callable[[Path], Server]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    start(closed / "postgres")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == os.geteuid()
    if ROOT:
        pid = postmaster(closed / "postgres")
        assert (closed / "postgres" / "data").stat().st_uid != 0
        assert effective_capabilities(pid) in {1 << 1, 1 << 2}  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    else:
        assert server_account(closed / "postgres", program("postgres")) == Account()


def test_open_parent_directory_needs_no_capability(start: Callable[[Path], Server]) -> None:
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        parent.chmod(0o755)
        server = start(parent / "postgres")
        account = server_account(server.directory, program("postgres"))
        # Where the binaries themselves are below a closed directory, the capability is for them.
        closed = ROOT and any(not folder.stat().st_mode & 0o001 for folder in program("postgres").parents)
        assert (account.capability is not None) == closed
        if Path("/proc/self").exists() and not closed:
            assert effective_capabilities(postmaster(server.directory)) == 0
        stop(server.directory, "immediate")


@pytest.mark.parametrize("missing", ["-dac_read_search", "-dac_read_search,-dac_override"])
def test_containers_with_fewer_capabilities(tmp_path: Path, start: Callable[[Path], Server], missing: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    prefix = ("setpriv", f"--bounding-set={missing}", "--") if ROOT else ()
    with start_elsewhere(closed / "postgres", prefix=prefix) as process:
        out, error = process.communicate(timeout=120)
    if ROOT and "override" in missing:
        assert process.returncode == 1
        assert "CREDENTIAL_PIPELINE_DATABASE_URL" in error
    else:
        assert start(closed / "postgres").port == int(out), error


def test_binaries_below_a_closed_directory(tmp_path: Path) -> None:
    """As in a clone below /root: initdb looks for its siblings with access(2), which forgets capabilities by itself."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "postgres"
    directory.mkdir()
    sibling = closed / "postgres-binary"
    sibling.write_text("#!/bin/sh\necho here\n")
    sibling.chmod(0o755)
    account = server_account(directory, sibling)
    done = account.run(["/bin/sh", "-c", 'test -x "$1"', "sh", sibling], cwd=Path("/"), timeout_s=30)
    assert done.returncode == 0, done.stderr

"""`credential-pipeline dev`: Dagster's webserver and daemon and the published site, on loopback, ended together.

Belongs here: starting and ending processes. Webserver and daemon are the ones a deployment uses, with the
workspace.yaml and dagster.yaml at the root.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from credential_pipeline.errors import Terminal
from credential_pipeline.run import open_instance
from credential_pipeline.runtime import open_runtime, prepare_database
from credential_pipeline.serve.site import run_site
from credential_pipeline.settings import Settings

WORKSPACE = Path(__file__).parent.parent / "workspace.yaml"
READY_SECONDS = 120
ENDING_SECONDS = 15


def free_port(wanted: int) -> int:
    """`wanted` on 127.0.0.1, or the next free port above it."""
    for port in range(wanted, wanted + 200):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Terminal(f"no free port from {wanted} to {wanted + 199}; give another --port")


def run_dev(settings: Settings, *, port: int, site_port: int, tell: Callable[[str], None]) -> int:
    """Serve until Ctrl-C or SIGTERM, or until a part dies; returns 0 for an asked-for end."""
    with open_runtime(settings) as runtime:
        site_folder = Path(runtime.site) if "://" not in runtime.site else None
    with open_instance(settings, prepare_database(settings)):
        pass  # its tables are made here, once, and not by webserver and daemon at the same time
    ttl = settings.institution.policies.status_ttl_minutes * 60
    ui, site = free_port(port), free_port(site_port)
    environ = _environment(settings)
    ended = threading.Event()
    # Before the children start: a Ctrl-C from now on ends them, and what a shell's `&` told us to ignore they do not.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        children["webserver"] = _start(
            ["dagster-webserver", "-h", "127.0.0.1", "-p", str(ui), "-w", str(WORKSPACE)], environ
        )
        children["daemon"] = _start(["dagster-daemon", "run", "-w", str(WORKSPACE)], environ)
        if site_folder is not None:
            site_folder.mkdir(parents=True, exist_ok=True)
            threading.Thread(
                target=run_site, args=(site_folder, site), kwargs={"ttl_seconds": ttl}, daemon=True
            ).start()
        tell("starting Dagster; this takes some 20 seconds")
        if _wait_until_ready(f"http://127.0.0.1:{ui}/server_info", children, ended):
            tell(f"Dagster UI      http://127.0.0.1:{ui}")
            tell(f"Published site  http://127.0.0.1:{site}" if site_folder else f"Published to    {runtime.site}")
            tell("Ctrl-C ends all")
        while not ended.wait(0.5):
            for name, child in children.items():
                if child.poll() is not None:
                    tell(f"the {name} ended with code {child.returncode}; ending the rest")
                    return 1
        return 0
    finally:
        tell("ending")
        _end(children)


def _environment(settings: Settings) -> dict[str, str]:
    """What the code location needs to load the same institution and home."""
    passed = {
        "CREDENTIAL_PIPELINE_INSTITUTION": str(settings.institution_dir.resolve()),
        "CREDENTIAL_PIPELINE_HOME": str(settings.home.resolve()),
        "CREDENTIAL_PIPELINE_DATA": str(settings.data.resolve()),
        "CREDENTIAL_PIPELINE_SECRETS": str(settings.secrets.resolve()),
    }
    return {**os.environ, **passed}


def _start(command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).parent / command[0]
    # A session of its own: the terminal's Ctrl-C reaches us alone, and we end the children in order.
    # Their log is for people: stdout is kept for what a program reads.
    return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
        [str(program), *command[1:]], env=dict(environ), stdout=sys.stderr, start_new_session=True
    )


def _wait_until_ready(url: str, children: Mapping[str, subprocess.Popen[bytes]], ended: threading.Event) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not ended.is_set():
        if any(child.poll() is not None for child in children.values()):
            return False
        try:
            with urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return True
        except (URLError, OSError):
            ended.wait(0.5)
    return False


def _end(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + ENDING_SECONDS
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
        # Code servers are grandchildren of the same session; whichever outlived its parent goes too.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

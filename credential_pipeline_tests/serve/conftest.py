"""A published site and a web server for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from credential_pipeline.serve.site import build_app
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher, college, publisher

__all__ = ["college", "publisher"]


@pytest.fixture
def issued(publisher: Publisher) -> list[ledger.Issued]:
    """Three credentials of a site that is published."""
    made = ledger.issue(publisher.engine, publisher.college, 3)
    publisher()
    return made


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder over real HTTP and returns its URL."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(folder: Path) -> str:
        app = build_app(folder, ttl_seconds=60)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        running.append((server, thread))
        thread.start()
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        assert server.started
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)

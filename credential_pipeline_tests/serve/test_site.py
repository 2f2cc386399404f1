"""The local server over real HTTP: headers from the table, and nothing that is not published."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from credential_pipeline.publish.headers import SECURITY, object_headers
from credential_pipeline_tests.publish import ledger
from credential_pipeline_tests.publish.conftest import Publisher


def test_every_object_with_its_headers(
    publisher: Publisher, issued: list[ledger.Issued], serve: Callable[[Path], str]
) -> None:
    base = serve(publisher.folder)
    with httpx.Client(base_url=base) as client:
        for path, data in publisher.files().items():
            got = client.get(f"/{path}")
            assert (got.status_code, got.content) == (200, data)
            expected = object_headers(path, 60) | dict(SECURITY)
            assert {name: got.headers.get(name) for name in expected} == expected
            head = client.head(f"/{path}")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == str(len(data))
            assert head.headers["Content-Type"] == got.headers["Content-Type"]
            assert client.get(f"/{path}", headers={"If-None-Match": got.headers["ETag"]}).status_code == 304
        assert client.get("/").content == publisher.store.get("index.html")
        assert client.post("/keys.json").status_code == 405


def _raw(base: str, target: str) -> bytes:
    """The answer to a request line that no client library would send."""
    parts = urlsplit(base)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_nothing_else_is_served(
    publisher: Publisher, issued: list[ledger.Issued], serve: Callable[[Path], str], tmp_path: Path
) -> None:
    base = serve(publisher.folder)
    (tmp_path / "keys.json").write_text("TOP SECRET")
    (tmp_path / "secret.json").write_text("TOP SECRET")
    linked = publisher.folder / "achievements" / "linked.json"
    linked.symlink_to(tmp_path / "secret.json")
    half = publisher.folder / "credentials" / f"{issued[0].public_id}.json#1"
    half.write_text("TOP SECRET")
    (publisher.folder / "notes.json").write_text("TOP SECRET")
    for target in (
        "/credentials", "/credentials/", "/state/", "/.well-known/", "/../keys.json", "/%2e%2e/keys.json",
        "/..%2fkeys.json", "/credentials/../../keys.json", "//etc/passwd", "/achievements/linked.json", "/notes.json",
        "/keys.json%00", f"/credentials/{issued[0].public_id}.json%231",
        f"/credentials/{issued[0].public_id.upper()}.json",
    ):  # fmt: skip
        answer = _raw(base, target)
        assert answer.startswith(b"HTTP/1.1 404"), (target, answer[:80])
        assert b"TOP SECRET" not in answer
    missing = httpx.get(f"{base}/credentials/{'a' * 26}.json")
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
    assert missing.headers["Cache-Control"] == "no-store"
    assert missing.headers["X-Content-Type-Options"] == "nosniff"

"""Where a verifier may look, over real sockets: refusals of private addresses, and what a server may not do to us."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from credential_pipeline.credential.verify import Unreachable
from credential_pipeline.serve.world import FirstOf, SiteFolder, Web, find_site

HOST = "badges.college.example"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: dict[str, tuple[int, bytes, dict[str, str]]] = {
            "/host": (200, self.headers["Host"].encode(), {}),
            "/big": (200, b"x" * 5000, {}),
            "/bomb": (200, gzip.compress(b"x" * 5_000_000), {"Content-Encoding": "gzip"}),
            "/near": (302, b"", {"Location": "/host"}),
            "/round": (302, b"", {"Location": "/round"}),
            "/far": (302, b"", {"Location": "https://other.example/host"}),
            "/inside": (302, b"", {"Location": "http://127.0.0.1/host"}),
        }
        if self.path in {"/drip", "/slow-head"}:
            self._drip()
            return
        status, body, headers = answers.get(self.path, (404, b"no", {}))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        with contextlib.suppress(OSError):  # the client has had enough
            for _ in range(200):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A real HTTPS server on loopback with a certificate for HOST, and the trust in it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.socket = server_side.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield (
        server.server_address[1],
        ssl.create_default_context(cadata=certificate.public_bytes(Encoding.PEM).decode()),
    )
    server.shutdown()
    server.server_close()
    thread.join(10)


Fetch = Callable[..., bytes]


@pytest.fixture
def fetch(https: tuple[int, ssl.SSLContext]) -> Iterator[Fetch]:
    """Fetches a path of the server under its public name, which resolves to loopback here."""
    port, trust = https
    with httpx.Client(verify=trust, timeout=5, trust_env=False) as client:

        def get(path: str, host: str = HOST, **limits: float) -> bytes:
            world = Web(client, allow_loopback=True, resolve=lambda _host, _port: ["127.0.0.1"], **limits)
            return world.fetch(f"https://{host}:{port}{path}")

        yield get


def test_asks_the_name_at_the_address_that_was_checked(fetch: Fetch, https: tuple[int, ssl.SSLContext]) -> None:
    assert fetch("/host") == f"{HOST}:{https[0]}".encode()
    assert fetch("/near") == f"{HOST}:{https[0]}".encode()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "HTTP 404"),
        ("/round", "redirects more than"),
        ("/far", "redirects to another host"),
        ("/inside", "redirects to another host"),
        ("/bomb", "compressed"),
    ],
)
def test_what_a_server_may_not_do(fetch: Fetch, path: str, reason: str) -> None:
    with pytest.raises(Unreachable, match=reason):
        fetch(path)


def test_limits_on_size_and_time(fetch: Fetch) -> None:
    assert len(fetch("/big", max_bytes=5000)) == 5000
    with pytest.raises(Unreachable, match="more than 4999 bytes"):
        fetch("/big", max_bytes=4999)
    for path in ("/drip", "/slow-head"):
        with pytest.raises(Unreachable, match="not complete"):
            fetch(path, total_seconds=0.2)


def test_a_host_that_wastes_time_is_not_asked_for_ever(https: tuple[int, ssl.SSLContext]) -> None:
    port, trust = https
    with httpx.Client(verify=trust, timeout=5, trust_env=False) as client:
        world = Web(
            client, allow_loopback=True, resolve=lambda _h, _p: ["127.0.0.1"], total_seconds=0.1, patience_seconds=0.15
        )
        reasons = []
        for _ in range(4):
            with pytest.raises(Unreachable) as refused:
                world.fetch(f"https://{HOST}:{port}/drip")
            reasons.append(str(refused.value))
        assert [reason.startswith("not complete") for reason in reasons] == [True, True, False, False]
        assert "not asked again" in reasons[-1]


def test_a_certificate_for_another_name_is_refused(fetch: Fetch) -> None:
    with pytest.raises(Unreachable, match="no answer"):
        fetch("/host", host="other.example")


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]  # fmt: skip


def _web(addresses: Sequence[str]) -> Web:
    return Web(httpx.Client(timeout=1, trust_env=False), resolve=lambda _host, _port: addresses)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    with pytest.raises(Unreachable, match="not a public address"):
        _web([address]).fetch("https://innocent.example/did.json")
    with pytest.raises(Unreachable, match="not a public address"):  # one bad one among several is enough
        _web(["93.184.216.34", address]).fetch("https://innocent.example/did.json")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x", "https://[::1]/x", "https://localhost/x", "https://2130706433/x", "https://0x7f.1/x",
        "https://[::ffff:127.0.0.1]/x",
    ],
)  # fmt: skip
def test_an_address_that_is_inside_is_refused_by_the_real_resolver(url: str) -> None:
    with pytest.raises(Unreachable, match="not a public address"):
        Web(httpx.Client(timeout=1, trust_env=False)).fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://innocent.example/x", "ftp://innocent.example/x", "file:///etc/passwd", "https:///x",
        "https://u:p@x.example/", "https://x.example:99999999/", "https://[bad/", "nonsense", "", "gopher://x.example",
    ],
)  # fmt: skip
def test_what_is_not_an_https_url_is_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        _web(["93.184.216.34"]).fetch(url)


def test_plain_http_is_for_this_machine_only() -> None:
    world = Web(httpx.Client(trust_env=False), allow_loopback=True, resolve=lambda _host, _port: ["93.184.216.34"])
    with pytest.raises(Unreachable, match="only https"):
        world.fetch("http://innocent.example/x")


def test_a_site_folder_has_what_is_below_its_base(tmp_path: Path) -> None:
    (tmp_path / "site" / "status").mkdir(parents=True)
    (tmp_path / "site" / "status" / "1.json").write_bytes(b"list")
    (tmp_path / "secret.json").write_bytes(b"secret")
    world = SiteFolder(tmp_path / "site", "https://college.example/badges")
    assert world.fetch("https://college.example/badges/status/1.json") == b"list"
    for url in (
        "https://college.example/badges/../secret.json", "https://college.example/badges//etc/passwd",
        "https://college.example/status/1.json", "https://college.example.evil/badges/status/1.json",
        "https://college.example/badgesstatus/1.json", "https://college.example/badges/status/2.json",
        "https://college.example/badges/status", "https://college.example/badges/status/1.json?x=1",
    ):  # fmt: skip
        with pytest.raises(Unreachable):
            world.fetch(url)


def test_the_first_world_that_has_it_answers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "keys.json").write_bytes(b"b")
    world = FirstOf(SiteFolder(tmp_path / "a", "https://x.example"), SiteFolder(tmp_path / "b", "https://x.example"))
    assert world.fetch("https://x.example/keys.json") == b"b"
    with pytest.raises(Unreachable, match=r"not below .*; .*not below"):
        world.fetch("https://y.example/keys.json")


@pytest.mark.parametrize(
    ("did", "base"),
    [
        ("did:web:badges.college.example", "https://badges.college.example"),
        ("did:web:college.example:badges", "https://college.example/badges"),
        ("did:web:localhost%3A8443", "https://localhost:8443"),
    ],
)
def test_a_site_is_found_from_within(tmp_path: Path, did: str, base: str) -> None:
    inner = tmp_path / "site" / "credentials"
    inner.mkdir(parents=True)
    assert find_site(inner / "x.json") is None
    (tmp_path / "site" / ".well-known").mkdir()
    (tmp_path / "site" / ".well-known" / "did.json").write_text(f'{{"id": "{did}"}}')
    assert find_site(inner / "x.json") == (tmp_path / "site", base)
    assert find_site(tmp_path / "site") == (tmp_path / "site", base)
    (tmp_path / "site" / ".well-known" / "did.json").write_text("[]")
    assert find_site(inner) is None

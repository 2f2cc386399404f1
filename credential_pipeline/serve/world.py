"""Worlds for the verifier: a site folder, the web, or one after the other.

Belongs here: turning a URL that a stranger wrote into bytes, or refusing to. Does not belong here: believing them.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from credential_pipeline.credential.verify import Unreachable, World, did_web_url
from credential_pipeline.publish.documents import DID_PATH
from credential_pipeline.store.objects import PATH

MAX_BYTES = 4 << 20
"""The largest thing a verifier needs is a status list; of a million entries at random it has 170 kB."""
MAX_REDIRECTS = 3
TOTAL_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
"""Of a host, in requests that came to nothing: a learner record can name one URL of a slow host for each member."""

Resolve = Callable[[str, int], Sequence[str]]


class SiteFolder:
    """A published site in a folder: what is below `base_url` is read from there, everything else is out of reach."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self._base = base_url.rstrip("/") + "/"

    def fetch(self, url: str) -> bytes:
        """The bytes of the file that is published at `url`; raises Unreachable."""
        if not url.startswith(self._base):
            raise Unreachable(f"not below {self._base}, whose folder is the only thing asked")
        path = url[len(self._base) :]
        if not PATH.match(path):
            raise Unreachable("not the path of an object")
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Unreachable(f"{path} is not in the site folder ({error.strerror})") from error
        if len(data) > MAX_BYTES:
            raise Unreachable(f"more than {MAX_BYTES} bytes")
        return data


class Web:
    """The web by HTTPS, asked on behalf of a stranger's document: public addresses only.

    The host is resolved first, every address checked, and the connection made to the address that was checked: a
    second resolution could give another answer (DNS rebinding).
    """

    def __init__(
        self,
        client: httpx.Client,
        allow_loopback: bool = False,
        *,
        resolve: Resolve | None = None,
        max_bytes: int = MAX_BYTES,
        total_seconds: float = TOTAL_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`client` sets timeouts and trust; `allow_loopback`: this machine too, also by plain http (development)."""
        self._client = client
        self._allow_loopback = allow_loopback
        self._resolve = resolve or _addresses
        self._max_bytes = max_bytes
        self._total_seconds = total_seconds
        self._patience_seconds = patience_seconds
        self._wasted: dict[str, float] = {}

    def fetch(self, url: str) -> bytes:
        """The body of a GET; raises Unreachable."""
        starts, host = time.monotonic(), _split(url).hostname or ""
        if self._wasted.get(host, 0.0) > self._patience_seconds:
            raise Unreachable(f"its host has cost {self._patience_seconds:.0f} s without an answer: not asked again")
        # In a thread: neither a name server nor a server that sends its headers byte by byte minds httpx's timeouts,
        # which are for each step. One that is given up holds its connection until the other side has enough.
        answer: SimpleQueue[bytes | Exception] = SimpleQueue()
        threading.Thread(
            target=self._put, args=(answer, url, host, starts + self._total_seconds), daemon=True, name=f"fetch {host}"
        ).start()
        try:
            found = answer.get(timeout=self._total_seconds)
        except Empty:
            found = Unreachable(f"not complete after {self._total_seconds:.0f} seconds")
        if isinstance(found, bytes):
            return found
        self._wasted[host] = self._wasted.get(host, 0.0) + time.monotonic() - starts
        raise found

    def _put(self, answer: SimpleQueue[bytes | Exception], url: str, host: str, ends: float) -> None:
        try:
            answer.put(self._follow(url, host, ends))
        except Exception as error:  # raised again by the thread that waits
            answer.put(error)

    def _follow(self, url: str, first: str, ends: float) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                body, location = self._get(url, ends)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                raise Unreachable(f"no answer ({type(error).__name__})") from error
            if location is None:
                return body
            if _split(location).netloc and (_split(location).hostname or "") != first:
                raise Unreachable("it redirects to another host, which is not followed")
            url = urljoin(url, location)
        raise Unreachable(f"it redirects more than {MAX_REDIRECTS} times")

    def _get(self, url: str, ends: float) -> tuple[bytes, str | None]:
        """(body, None), or (nothing, where it redirects to)."""
        host, authority, targets = self._pinned(url)
        for target in targets[:-1]:
            try:
                return self._ask(target, host, authority, ends)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # the next address: a host with IPv6 is asked from a network without
        return self._ask(targets[-1], host, authority, ends)

    def _ask(self, target: str, host: str, authority: str, ends: float) -> tuple[bytes, str | None]:
        request = self._client.build_request(
            "GET",
            target,
            # Unpacked by nobody: a bomb stays small.
            headers={"Host": authority, "Accept": "application/json, */*;q=0.1", "Accept-Encoding": "identity"},
            # The certificate is checked against the name, though the connection goes to the address.
            extensions={"sni_hostname": host},
        )
        response = self._client.send(request, stream=True, follow_redirects=False)
        try:
            if response.has_redirect_location:
                return b"", response.headers["Location"]
            if response.status_code != 200:
                raise Unreachable(f"HTTP {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Unreachable("it came compressed, though that was not asked for")
            body = bytearray()
            for part in response.iter_raw():
                body += part
                if len(body) > self._max_bytes:
                    raise Unreachable(f"more than {self._max_bytes} bytes")
                if time.monotonic() > ends:
                    raise Unreachable(f"not complete after {self._total_seconds:.0f} seconds")
            return bytes(body), None
        finally:
            response.close()

    def _pinned(self, url: str) -> tuple[str, str, list[str]]:
        """(the host, the Host header, the URL with each of the host's addresses for its host)."""
        parts = _split(url)
        host, port = parts.hostname, parts.port
        if not host or parts.username is not None or parts.password is not None:
            raise Unreachable("a URL with a host and without credentials is needed")
        if parts.scheme != "https" and not (self._allow_loopback and parts.scheme == "http"):
            raise Unreachable("only https is asked")
        targets = []
        for text in self._resolve(host, port or (443 if parts.scheme == "https" else 80)):
            address = ip_address(text)
            if not (_is_public(address) or (self._allow_loopback and address.is_loopback)):
                raise Unreachable("its host is not a public address")
            if parts.scheme == "http" and not address.is_loopback:
                raise Unreachable("only https is asked")
            literal = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
            netloc = literal if port is None else f"{literal}:{port}"
            targets.append(parts._replace(netloc=netloc, fragment="").geturl())
        if not targets:
            raise Unreachable("its host has no address")
        return host, parts.netloc, targets


class FirstOf:
    """Asks several worlds in turn; the first that has the URL answers."""

    def __init__(self, *worlds: World) -> None:
        self._worlds = worlds

    def fetch(self, url: str) -> bytes:
        """The bytes at `url`; raises Unreachable with the reason of each world."""
        reasons = []
        for world in self._worlds:
            try:
                return world.fetch(url)
            except Unreachable as error:
                reasons.append(str(error))
        raise Unreachable("; ".join(reasons) or "there is nobody to ask")


def find_site(path: Path) -> tuple[Path, str] | None:
    """The published site that a file or folder lies in: its folder and base URL, which its did.json tells."""
    path = path.absolute()
    for folder in (path, *path.parents):
        try:
            with (folder / DID_PATH).open("rb") as file:
                did = json.loads(file.read(MAX_BYTES))["id"]
            return folder, did_web_url(did).removesuffix("/did.json").removesuffix("/.well-known")
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # checked when it is asked for
    except ValueError as error:
        raise Unreachable("not a URL") from error
    return parts


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable("its host cannot be found") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        # An IPv4 address in disguise: mapped (RFC 4291 2.5.5.2), 6to4 (RFC 3056), NAT64 (RFC 6052), Teredo (RFC 4380).
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and int(address) >> 32 == int(IPv6Address("64:ff9b::")) >> 32:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast

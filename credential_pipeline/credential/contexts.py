"""The JSON-LD contexts a credential may name: vendored, pinned by SHA-256, never fetched.

Belongs here: the URLs, the bytes and the document loader for pyld. Does not belong here: what the terms are used
for, and any network access (a context host that changes a definition changes what a signature covers).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

VC2 = "https://www.w3.org/ns/credentials/v2"
OB3 = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
OB3_EXTENSIONS = "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json"
CLR2 = "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json"
DATA_INTEGRITY2 = "https://w3id.org/security/data-integrity/v2"
MULTIKEY1 = "https://w3id.org/security/multikey/v1"
JWK1 = "https://w3id.org/security/jwk/v1"
DID1 = "https://www.w3.org/ns/did/v1"
"""These two are named by DID documents only, which are read as plain JSON: not vendored."""


class ContextNotVendored(ValueError):
    """A document names a context that this package does not carry, or the carried bytes are not the pinned ones."""


def document_loader(url: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG001 - pyld's way
    """The vendored context `url` in the shape of a pyld document loader (JSON-LD API 9.4 RemoteDocument).

    Tagged `static`, so that pyld keeps the processed context. Raises ContextNotVendored for any other URL; the match
    is exact, without normalisation of case, scheme or slashes.
    """
    return {
        "contentType": "application/ld+json",
        "contextUrl": None,
        "documentUrl": url,
        "document": json.loads(context_bytes(url)),
        "tag": "static",
    }


def context_sha256(url: str) -> str:
    """SHA-256 (hex) of the vendored context `url`; raises ContextNotVendored."""
    pinned = _index().get(url)
    if pinned is None:
        raise ContextNotVendored(
            f"the context {url!r} is not vendored and contexts are never fetched: name one of {', '.join(_index())}"
        )
    return pinned["sha256"]


@lru_cache(maxsize=32)
def context_bytes(url: str) -> bytes:
    """The exact bytes of the vendored context `url`, checked against the pinned SHA-256 once per process."""
    expected = context_sha256(url)
    name = _index()[url]["file"]
    data = (resources.files(__package__) / "contexts" / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise ContextNotVendored(
            f"contexts/{name} differs from its pinned SHA-256 {expected}: reinstall the package, do not sign with it"
        )
    return data


@lru_cache(maxsize=1)
def _index() -> dict[str, dict[str, str]]:
    text = (resources.files(__package__) / "contexts" / "index.json").read_text("utf-8")
    index: dict[str, dict[str, str]] = json.loads(text)
    return index

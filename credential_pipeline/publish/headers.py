"""The one table of headers: which object is what, and how long who may keep it.

Belongs here: content type, cache and security headers by path. Used by the local server, by the attributes of objects
in a bucket, and by whatever is generated for a CDN. Does not belong here: serving.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

YEAR = 31_536_000

SECURITY: Mapping[str, str] = {
    "Strict-Transport-Security": f"max-age={YEAR}; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Any verifier's page may read what is public anyway (Fetch Standard, CORS protocol).
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@dataclass(frozen=True, slots=True)
class PathClass:
    """Objects that are alike. `cache` is the Cache-Control, where `{ttl}` stands for the status lists' ttl (s)."""

    name: str
    pattern: re.Pattern[str]
    content_type: str
    cache: str


def _class(name: str, pattern: str, content_type: str, cache: str) -> PathClass:
    return PathClass(name, re.compile(rf"(?:{pattern})\Z"), content_type, cache)


_SHORT = "public, max-age={ttl}"
_FOREVER = f"public, max-age={YEAR}, immutable"

TABLE: tuple[PathClass, ...] = (
    # A CDN keeps a signed credential until it is told otherwise, a browser 5 minutes: so erasing one works.
    _class(
        "credential",
        r"credentials/[a-z2-7]{26}\.json",
        "application/vc",  # VC Data Model 2.0, 6.3
        f"public, max-age=300, s-maxage={YEAR}",
    ),
    _class(
        "credential as JWT",
        r"credentials/[a-z2-7]{26}\.jwt",
        "application/vc+jwt",  # VC-JOSE-COSE 1.0, 6.1
        f"public, max-age=300, s-maxage={YEAR}",
    ),
    _class("state", r"state/[a-z2-7]{26}\.json", "application/json", _SHORT),
    # Bitstring Status List 2.2: ttl says how long a verifier may keep the list; a cache may keep it no longer.
    _class("status list", r"status/[1-9][0-9]*\.json", "application/vc", _SHORT),
    _class("did", r"(?:\.well-known/)?did\.json", "application/did+ld+json", _SHORT),
    _class("keys", r"keys\.json", "application/json", _SHORT),
    _class("issuer", r"issuer\.json", "application/ld+json", _SHORT),
    _class("achievement", r"achievements/[a-z0-9_-]+(?:\.[A-Za-z0-9-]+)?\.json", "application/ld+json", _SHORT),
    _class("style", r"assets/[a-z0-9-]+-[0-9a-f]{16}\.css", "text/css; charset=utf-8", _FOREVER),
    _class("page", r"index\.html", "text/html; charset=utf-8", "public, max-age=300"),
)  # fmt: skip


def class_of(path: str) -> PathClass | None:
    """The class of an object's path (no leading slash), or None: nothing else is ever served."""
    return next((c for c in TABLE if c.pattern.match(path)), None)


def object_headers(path: str, ttl_seconds: int) -> dict[str, str]:
    """Content-Type and Cache-Control of an object: the part that a bucket can keep itself.

    Raises:
        ValueError: no class has such a path; a new kind of object needs a line in TABLE first.
    """
    found = class_of(path)
    if found is None:
        raise ValueError(f"{path} is in no class of publish/headers.py: add one before publishing such objects")
    return {"Content-Type": found.content_type, "Cache-Control": found.cache.format(ttl=ttl_seconds)}

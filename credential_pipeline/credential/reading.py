"""From a stranger's bytes to the members that verification needs, each step told as a check.

Belongs here: which kind of file it is, taking a credential out of an image, strict JSON, contexts, schema. Does not
belong here: believing any of it (verify.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential.baked import Kind, extract, kind_of, unknown_kind
from credential_pipeline.credential.carried import MAX_CREDENTIAL, MAX_IMAGE, ImageError
from credential_pipeline.credential.contexts import CLR2, OB3, VC2, ContextNotVendored, context_bytes, context_sha256
from credential_pipeline.credential.report import Trail
from credential_pipeline.credential.schema_rules import check_schema, credential_class
from credential_pipeline.credential.strict_json import NotStrictJson, parse, take
from credential_pipeline.credential.text import BuildError, FormError, parse_instant, url

MAX_BYTES = 256 << 10
"""One credential has 3 kB; what is larger is not read."""
MAX_RECORD_BYTES = MAX_CREDENTIAL
"""A learner record, with the credentials that are embedded in it."""
MOST_READ = max(MAX_IMAGE, MAX_RECORD_BYTES)
"""Of a file of any kind."""

_INDEX = re.compile(r"(0|[1-9][0-9]{0,9})\Z")
_KINDS: Mapping[Kind, str] = {"JSON": "a JSON document", "JWT": "a JWT", "SVG": "an SVG image", "PNG": "a PNG image"}
_CONTEXTS: Mapping[str, tuple[str, ...]] = {
    "OpenBadgeCredential": (VC2, OB3),
    "EndorsementCredential": (VC2, OB3),
    "ClrCredential": (VC2, CLR2, OB3),
}
"""VC 2.0 4.3, Open Badges 3.0 8.2 and CLR 2.0 8.2: the order is part of the meaning; others may follow."""


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """Where the credential's bit is."""

    purpose: str
    index: int
    list_url: str


@dataclass(frozen=True, slots=True)
class Read:
    """A credential whose members are of the right type; nothing of it is believed yet."""

    document: dict[str, Any]
    kind: str
    url: str
    issuer: str
    valid_from: datetime
    valid_until: datetime | None
    status: StatusPlace | None
    state_url: str | None


@dataclass(frozen=True, slots=True)
class Secured:
    """The bytes of a credential, out of any image: JSON with embedded proofs, or a compact JWS."""

    data: bytes
    is_jwt: bool


def secured(trail: Trail, data: bytes) -> Secured | None:
    """The credential in a file of any kind; None, with a failed check, for what carries none."""
    if len(data) > MOST_READ:
        trail.failed("kind", f"{len(data)} bytes are more than the {MOST_READ} that are read of a file")
        return None
    kind = kind_of(data)
    if kind is None:
        trail.failed(
            "kind",
            f"not a credential: {unknown_kind(data)}; JSON, JWT, SVG and PNG files carry one (Open Badges 3.0, 5)",
        )
        return None
    trail.passed("kind", _KINDS[kind])
    return _extracted(trail, data) if kind in ("SVG", "PNG") else Secured(data.strip(b" \t\r\n"), kind == "JWT")


def _extracted(trail: Trail, image: bytes) -> Secured | None:
    try:
        data = extract(image)
    except ImageError as cause:
        trail.failed("image", str(cause))
        return None
    is_jwt = not data.startswith(b"{")
    trail.passed("image", f"carries one credential, as {'a JWT' if is_jwt else 'JSON'}", {"bytes": str(len(data))})
    return Secured(data, is_jwt)


def parsed(trail: Trail, data: bytes, max_bytes: int) -> dict[str, Any] | None:
    """The document in JSON bytes; `max_bytes` caps a credential that is no learner record."""
    try:
        document = parse(data, max(max_bytes, MAX_RECORD_BYTES))
        types = document.get("type")
        if len(data) > max_bytes and not (isinstance(types, list) and "ClrCredential" in types):
            raise NotStrictJson(f"{len(data)} bytes are more than the {max_bytes} that are read of one credential")
    except NotStrictJson as cause:
        trail.failed("parse", f"the file is {cause}" if str(cause).startswith("not") else str(cause))
        return None
    trail.passed("parse", "strict JSON")
    return document


def read(trail: Trail, document: dict[str, Any]) -> Read | None:
    """The members of the document, with the checks `contexts` and `schema`; None if one does not hold."""
    check = "schema"
    try:
        kind = credential_class(document)
        check = "contexts"
        contexts = _checked_contexts(document, kind)
        trail.passed(check, "named in order, and carried here with these digests", contexts)
        check = "schema"
        check_schema(document, kind)
        found = _members(document, kind)
    except ContextNotVendored as cause:
        trail.unknown(check, f"what the credential says is not known: {cause}")
        return None
    except (FormError, BuildError) as cause:
        trail.failed(check, f"not an Open Badges 3.0 credential: {cause}")
        return None
    _tell_schema(trail, document, kind)
    return found


def _checked_contexts(document: dict[str, Any], kind: str) -> dict[str, str]:
    """The digests of the contexts. Raises FormError, and ContextNotVendored for one that is not carried or altered."""
    contexts = take(document, "@context", list, "credential")
    first = _CONTEXTS[kind]
    if not all(isinstance(context, str) for context in contexts):
        raise FormError("@context defines terms inline, where only URLs of published contexts are read")
    if tuple(contexts[: len(first)]) != first or len(set(contexts)) != len(contexts):
        raise FormError(f"@context does not begin with {', '.join(first)}, in this order")
    digests = {}
    for context in contexts:
        context_bytes(context)  # compared with the digest, once a process
        digests[context] = context_sha256(context)
    return digests


def _tell_schema(trail: Trail, document: dict[str, Any], kind: str) -> None:
    schemas = document.get("credentialSchema", [])
    named = [entry["id"] for entry in (schemas if isinstance(schemas, list) else [schemas])]
    strange = [schema for schema in named if not schema.startswith("https://purl.imsglobal.org/spec/")]
    detail = f"{kind}: its members are there and of the right types"
    if strange:
        detail += f"; the schema {strange[0][:120]} is not read, and what it asks for is not checked"
    (trail.warned if strange else trail.passed)("schema", detail, {"credentialSchema": " ".join(named)[:500]})


def _members(document: dict[str, Any], kind: str) -> Read:
    until = document.get("validUntil")
    starts = parse_instant(document["validFrom"], "validFrom")
    ends = None if until is None else parse_instant(until, "validUntil")
    if ends is not None and ends < starts:
        raise FormError("validUntil lies before validFrom (VC 2.0, 4.9)")
    status, refresh = document.get("credentialStatus"), document.get("refreshService")
    return Read(
        document=document,
        kind=kind,
        url=document["id"],
        issuer=document["issuer"]["id"],
        valid_from=starts,
        valid_until=ends,
        status=None if status is None else _status_place(status),
        state_url=None if refresh is None else url(refresh["id"], "refreshService.id"),
    )


def _status_place(status: dict[str, Any]) -> StatusPlace:
    if take(status, "type", str, "credentialStatus") != "BitstringStatusListEntry":
        raise FormError("credentialStatus is not a BitstringStatusListEntry")
    purpose = take(status, "statusPurpose", str, "credentialStatus")
    if purpose not in ("revocation", "suspension"):
        raise FormError(f"credentialStatus.statusPurpose is {purpose[:40]!r}: neither revocation nor suspension")
    index = take(status, "statusListIndex", str, "credentialStatus")
    if not _INDEX.match(index):
        raise FormError("credentialStatus.statusListIndex is not a whole number in a string")
    size = status.get("statusSize", 1)
    if isinstance(size, bool) or size != 1:
        raise FormError("credentialStatus.statusSize is not 1")
    list_url = url(take(status, "statusListCredential", str, "credentialStatus"), "statusListCredential")
    return StatusPlace(purpose, int(index), list_url)

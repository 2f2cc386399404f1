"""The reader's side: is this credential what it says, said by whom, and still true at this instant?

Belongs here: the order of the checks and what each means for the verdict. Does not belong here: fetching and believing
other documents (resolve.py), other formats (SVG, PNG, JWT), and any printing.

What decides when something cannot be had:
- did.json out of reach: unknown, nothing after it can be checked.
- keys.json out of reach: a warning; a compromised key has left did.json, which was read. Forged: unknown.
- status list out of reach, forged or stale: unknown.
- state object out of reach, forged or stale: a warning if the status list is fresh, since a superseded or withdrawn
  version is revoked there as well; else it adds nothing to the status list's unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential.contexts import context_sha256
from credential_pipeline.credential.document import CONTEXTS
from credential_pipeline.credential.many import verifier_of_many
from credential_pipeline.credential.proof import JCS, RDFC, ProofError
from credential_pipeline.credential.report import Check, Report, Trail, Verdict
from credential_pipeline.credential.resolve import (
    IssuerKeys,
    Refused,
    Resolver,
    StatusList,
    Unknown,
    Unreachable,
    World,
    check_proofs,
    did_web_url,
)
from credential_pipeline.credential.status_list import StatusListError, is_set
from credential_pipeline.credential.strict_json import NotStrictJson, parse, take
from credential_pipeline.credential.text import BuildError, FormError, instant, parse_instant, url

__all__ = ["Check", "Report", "Unreachable", "Verifier", "World", "did_web_url", "verify"]

MAX_BYTES = 256 << 10
"""A credential has 3 kB; what is larger is not read."""

_INDEX = re.compile(r"(0|[1-9][0-9]{0,9})\Z")


@dataclass(frozen=True, slots=True)
class _Read:
    """The members that verification needs, all of the right type."""

    url: str
    issuer: str
    valid_from: datetime
    valid_until: datetime | None
    purpose: str
    index: int
    list_url: str
    state_url: str


def verify(data: bytes, world: World, now: datetime, max_bytes: int = MAX_BYTES) -> Report:
    """Verifies one credential; for many of one issuer use a Verifier, which asks for keys and lists once."""
    return Verifier(world, now, max_bytes).verify(data)


class Verifier:
    """Verifies credentials against one World at one instant (aware)."""

    def __init__(self, world: World, now: datetime, max_bytes: int = MAX_BYTES) -> None:
        if now.tzinfo is None:
            raise ValueError("now has no time zone: give an aware datetime")
        self._now = now
        self._max_bytes = max_bytes
        self._resolver = Resolver(world, now)
        self._verifier = verifier_of_many()

    def verify(self, data: bytes) -> Report:
        """The report on the credential in `data`: JSON bytes, hostile until proven otherwise. Never raises for them."""
        trail = Trail()
        document, read = self._read(trail, data)
        if document is None or read is None:
            return trail.report()
        keys = self._keys(trail, read)
        if keys is None or not self._proofs(trail, document, keys):
            return trail.report()
        self._key_period(trail, document, keys)
        self._dates(trail, read)
        fresh = self._status(trail, read, keys)
        self._state(trail, read, keys, fresh)
        return trail.report()

    def _read(self, trail: Trail, data: bytes) -> tuple[dict[str, Any] | None, _Read | None]:
        try:
            document = parse(data, self._max_bytes)
        except NotStrictJson as cause:
            trail.failed("parse", f"the file is {cause}" if str(cause).startswith("not") else str(cause))
            return None, None
        trail.passed("parse", "strict JSON")
        try:
            read = _form(document)
        except (FormError, BuildError) as cause:
            trail.failed("form", f"not an Open Badges 3.0 credential: {cause}")
            return document, None
        trail.passed("form", "Open Badges 3.0", {context: context_sha256(context) for context in document["@context"]})
        return document, read

    def _keys(self, trail: Trail, read: _Read) -> IssuerKeys | None:
        try:
            keys = self._resolver.issuer(read.issuer)
        except Refused as cause:
            trail.failed("issuer", str(cause), {"issuer": read.issuer})
            return None
        except Unknown as cause:
            trail.unknown("issuer", f"the issuer's keys are not known: {cause}", {"issuer": read.issuer})
            return None
        trail.passed("issuer", f"the keys of {read.issuer} are known", keys.multikeys)
        return keys

    def _proofs(self, trail: Trail, document: dict[str, Any], keys: IssuerKeys) -> bool:
        # jcs first: it costs 0.3 ms whatever the document, so RDF canonicalization, which a stranger can make
        # expensive, runs only on what the issuer has signed. The jcs proof also covers each JSON member, where the
        # rdfc proof covers the dataset it expands to.
        for suite in (JCS, RDFC):
            try:
                method = check_proofs(document, keys, suite, self._verifier)
            except ProofError as cause:
                trail.failed(f"proof {suite}", str(cause))
                return False
            trail.passed(
                f"proof {suite}", "the signature matches", {"verificationMethod": method, "key": keys.multikeys[method]}
            )
        return True

    def _key_period(self, trail: Trail, document: dict[str, Any], keys: IssuerKeys) -> None:
        proof = document["proof"][0]
        method = proof["verificationMethod"]
        try:
            created = parse_instant(proof["created"], "proof.created")
        except FormError as cause:
            trail.failed("key period", str(cause))
            return
        if created > self._now:
            trail.failed("key period", f"the proof was created in the future, at {proof['created']}")
        elif keys.periods is None:
            tell = trail.unknown if keys.periods_forged else trail.warned
            tell("key period", f"the periods of the keys are not known: {keys.periods_missing}")
        elif problem := _outside_period(created, method, keys):
            trail.failed("key period", problem, {"created": proof["created"]})
        else:
            trail.passed("key period", "the key was in use when it signed", {"created": proof["created"]})

    def _dates(self, trail: Trail, read: _Read) -> None:
        evidence = {"now": self._now.isoformat(), "validFrom": read.valid_from.isoformat()}
        if read.valid_until is not None:
            evidence["validUntil"] = read.valid_until.isoformat()
        if read.valid_from > self._now:
            trail.failed("dates", f"not valid before {read.valid_from.isoformat()}", evidence)
        elif read.valid_until is not None and read.valid_until < self._now:
            trail.failed("dates", f"expired at {read.valid_until.isoformat()}", evidence, "expired")
        else:
            trail.passed("dates", "valid at this instant", evidence)

    def _status(self, trail: Trail, read: _Read, keys: IssuerKeys) -> bool:
        """Tells whether a fresh list could be read."""
        evidence = {"list": read.list_url, "index": str(read.index), "purpose": read.purpose}
        try:
            found = self._resolver.status_list(read.list_url, keys)
            marked = _marked(found, read)
        except (Unknown, StatusListError, FormError) as cause:
            trail.unknown("status", f"whether it is revoked is not known: {cause}", evidence)
            return False
        if marked:
            verdict: Verdict = "revoked" if read.purpose == "revocation" else "suspended"
            trail.failed("status", f"the issuer has {verdict} this credential", evidence, verdict)
        else:
            trail.passed("status", f"no {read.purpose} as of the list", evidence | {"validUntil": found.valid_until})
        return True

    def _state(self, trail: Trail, read: _Read, keys: IssuerKeys, fresh_list: bool) -> None:
        try:
            found = self._resolver.state(read.state_url, read.url, keys)
        except Unknown as cause:
            more = "the status list is fresh and decides" if fresh_list else "and neither does the status list tell"
            trail.warned("state", f"{cause}; {more}", {"state": read.state_url})
            return
        evidence = {"state": read.state_url, "validUntil": found.valid_until}
        why = f": {found.reason}" if found.reason else ""
        match found.state:
            case "current":
                trail.passed("state", "this is the current version", evidence)
            case "superseded":
                trail.failed("state", f"superseded by {found.superseded_by}{why}", evidence, "superseded")
            case "suspended":
                trail.failed("state", f"the issuer has suspended this credential{why}", evidence, "suspended")
            case state:
                trail.failed("state", f"the issuer has {state} this credential{why}", evidence, "revoked")


def _form(document: dict[str, Any]) -> _Read:
    contexts = take(document, "@context", list, "credential")
    # VC 2.0 4.3 and Open Badges 3.0 8.2: the order is part of the meaning.
    if contexts not in (list(CONTEXTS), list(CONTEXTS[:2])):
        raise FormError(f"@context is not {', '.join(CONTEXTS)}, in this order")
    types = take(document, "type", list, "credential")
    if "VerifiableCredential" not in types or not {"OpenBadgeCredential", "AchievementCredential"} & _strings(types):
        raise FormError("type does not name VerifiableCredential and OpenBadgeCredential")
    issuer = take(document, "issuer", dict, "credential")
    subject = take(document, "credentialSubject", dict, "credential")
    take(take(subject, "achievement", dict, "credentialSubject"), "id", str, "achievement")
    status = take(document, "credentialStatus", dict, "credential")
    if take(status, "type", str, "credentialStatus") != "BitstringStatusListEntry":
        raise FormError("credentialStatus is not a BitstringStatusListEntry")
    purpose = take(status, "statusPurpose", str, "credentialStatus")
    if purpose not in ("revocation", "suspension"):
        raise FormError(f"credentialStatus.statusPurpose is {purpose[:40]!r}: neither revocation nor suspension")
    index = take(status, "statusListIndex", str, "credentialStatus")
    if not _INDEX.match(index):
        raise FormError("credentialStatus.statusListIndex is not a whole number in a string")
    if status.get("statusSize", 1) != 1:
        raise FormError("credentialStatus.statusSize is not 1")
    until = take(document, "validUntil", str, "credential") if "validUntil" in document else None
    return _Read(
        url=url(take(document, "id", str, "credential"), "credential.id"),
        issuer=take(issuer, "id", str, "issuer"),
        valid_from=parse_instant(take(document, "validFrom", str, "credential"), "validFrom"),
        valid_until=None if until is None else parse_instant(until, "validUntil"),
        purpose=purpose,
        index=int(index),
        list_url=url(take(status, "statusListCredential", str, "credentialStatus"), "statusListCredential"),
        state_url=url(
            take(take(document, "refreshService", dict, "credential"), "id", str, "refreshService"), "refreshService.id"
        ),
    )


def _strings(values: list[Any]) -> set[str]:
    return {value for value in values if isinstance(value, str)}


def _marked(found: StatusList, read: _Read) -> bool:
    if found.purpose != read.purpose:
        raise FormError(f"the list is for {found.purpose!r} and the credential asks for {read.purpose!r}")
    return is_set(found.bits, read.index)


def _outside_period(created: datetime, method: str, keys: IssuerKeys) -> str | None:
    period = (keys.periods or {}).get(method)
    if period is None:
        return f"keys.json does not list the key {method}"
    if period.public_key_multibase != keys.multikeys[method]:
        return f"keys.json and did.json give different keys for {method}"
    if period.compromised:
        return f"the key {method} is compromised: whatever its date, somebody else may have signed"
    if created < period.valid_from:
        return (
            f"the proof was created before the key's period, which starts at {instant(period.valid_from, 'validFrom')}"
        )
    if period.valid_until is not None and created > period.valid_until:
        return (
            f"the proof was created after the key's period, which ended at {instant(period.valid_until, 'validUntil')}"
        )
    return None

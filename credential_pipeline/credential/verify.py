"""The reader's side: is this credential what it says, said by whom, and still true at this instant?

Belongs here: the order of the checks and what each means for the verdict. Does not belong here: getting at the
credential (reading.py), fetching and believing other documents (resolve.py), embedded credentials (embedded.py), and
any printing.

What decides when something cannot be had:
- did.json out of reach: unknown, nothing after it can be checked.
- keys.json out of reach: a warning; a compromised key has left did.json, which was read. Forged: unknown.
- status list out of reach, forged or stale: unknown. None named: a warning, the issuer cannot take it back.
- state object out of reach, forged or stale: a warning if the status list is fresh, since a superseded or withdrawn
  version is revoked there as well; else it adds nothing to the status list's unknown.
- a context that is not carried, or was altered: unknown, whoever signed it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from credential_pipeline.credential.embedded import Embedded, enveloped, tell_embedded
from credential_pipeline.credential.jwt import JwtError, key_of, read_jwt, verify_jwt
from credential_pipeline.credential.many import verifier_of_many
from credential_pipeline.credential.proof import JCS, RDFC, ProofError, ProofOptions
from credential_pipeline.credential.reading import (
    MAX_BYTES,
    MAX_RECORD_BYTES,
    MOST_READ,
    Read,
    StatusPlace,
    parsed,
    read,
    secured,
)
from credential_pipeline.credential.report import Check, Member, Report, Trail, Verdict
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
from credential_pipeline.credential.text import FormError, instant, parse_instant

__all__ = ["MOST_READ", "Check", "Member", "Report", "Unreachable", "Verifier", "World", "did_web_url", "verify"]


_TOLD_OF_A_PROOF = ("verificationMethod", "proofPurpose", "created", "expires", "domain", "challenge")


def verify(data: bytes, world: World, now: datetime, max_bytes: int = MAX_BYTES) -> Report:
    """Verifies one credential; for many of one issuer use a Verifier, which asks for keys and lists once."""
    return Verifier(world, now, max_bytes).verify(data)


class Verifier:
    """Verifies credentials against one World at one instant (aware).

    `domain` and `challenge`: what the proofs have to be made for; what was made for any is refused without them, and
    what is embedded in a credential is never made for one (VC-DATA-INTEGRITY 2.1).
    """

    def __init__(
        self,
        world: World,
        now: datetime,
        max_bytes: int = MAX_BYTES,
        *,
        domain: str | None = None,
        challenge: str | None = None,
    ) -> None:
        if now.tzinfo is None:
            raise ValueError("now has no time zone: give an aware datetime")
        self._now = now
        self._max_bytes = max_bytes
        self._options = ProofOptions(now=now, domain=domain, challenge=challenge)
        self._embedded_options = ProofOptions(now=now)
        self._resolver = Resolver(world, now)
        self._verifier = verifier_of_many()

    def verify(self, data: bytes) -> Report:
        """The report on the credential in `data`: a JSON, JWT, SVG or PNG file, hostile until proven otherwise.

        Never raises for what is in it.
        """
        trail = Trail()
        found = secured(trail, data)
        if found is None:
            return trail.report()
        if found.is_jwt:
            self._tell_jwt(trail, found.data, Embedded())
            return trail.report()
        document = parsed(trail, found.data, self._max_bytes)
        if document is not None:
            self._tell(trail, document, Embedded())
        return trail.report()

    def _tell(self, trail: Trail, document: dict[str, Any], embedded: Embedded) -> None:
        """All checks on a document with embedded proofs; `embedded` counts what is verified inside what."""
        if (token := enveloped(document)) is not None:
            self._tell_jwt(trail, token, embedded)
            return
        credential = read(trail, document)
        if credential is None:
            return
        keys = self._keys(trail, credential)
        options = self._embedded_options if embedded.depth else self._options
        if keys is None or not self._proofs(trail, document, keys, options):
            return
        proof = document["proof"][0]
        self._key_period(trail, parse_instant(proof["created"], "proof.created"), proof["verificationMethod"], keys)
        self._tell_what_is_signed(trail, credential, keys, embedded)

    def _tell_jwt(self, trail: Trail, token: bytes, embedded: Embedded) -> None:
        """All checks on a VC-JWT (Open Badges 3.0, 8.2; VC-JOSE-COSE 1.0)."""
        try:
            jwt = read_jwt(token, MAX_RECORD_BYTES)
        except JwtError as cause:
            trail.failed("parse", str(cause))
            return
        trail.passed("parse", f"a compact JWS with {jwt.algorithm}", {"kid": jwt.key_id or ""})
        credential = read(trail, jwt.credential)
        if credential is None:
            return
        if credential.kind != "ClrCredential" and len(token) * 3 // 4 > self._max_bytes:
            trail.failed("parse", f"{len(token)} characters are more than are read of one credential")
            return
        keys = self._keys(trail, credential)
        if keys is None:
            return
        try:
            method = key_of(jwt, keys.jwks)
            verify_jwt(jwt, keys.jwks[method])
        except JwtError as cause:
            trail.failed("proof jwt", str(cause))
            return
        trail.passed("proof jwt", "the signature matches", {"verificationMethod": method, "algorithm": jwt.algorithm})
        # A JWT may be younger than its credential: `iat` says when it was signed, else nbf (Open Badges 3.0, 8.2.4).
        self._key_period(trail, jwt.signed_at, method, keys)
        self._tell_what_is_signed(trail, credential, keys, embedded)

    def _tell_what_is_signed(self, trail: Trail, credential: Read, keys: IssuerKeys, embedded: Embedded) -> None:
        self._dates(trail, credential)
        fresh = self._status(trail, credential.status, keys)
        self._state(trail, credential, keys, fresh)
        # Last, and only of what the issuer has signed: each costs as much as the whole.
        tell_embedded(trail, credential, embedded, self._tell)

    def _keys(self, trail: Trail, credential: Read) -> IssuerKeys | None:
        try:
            keys = self._resolver.issuer(credential.issuer)
        except Refused as cause:
            trail.failed("issuer", str(cause), {"issuer": credential.issuer})
            return None
        except Unknown as cause:
            trail.unknown("issuer", f"the issuer's keys are not known: {cause}", {"issuer": credential.issuer})
            return None
        names = dict.fromkeys(keys.jwks, "JWK")
        trail.passed("issuer", f"the keys of {credential.issuer} are known", {**keys.multikeys, **names})
        return keys

    def _proofs(self, trail: Trail, document: dict[str, Any], keys: IssuerKeys, options: ProofOptions) -> bool:
        # jcs first: it costs 0.3 ms whatever the document, so RDF canonicalization, which a stranger can make
        # expensive, runs only on what the issuer has signed. The jcs proof also covers each JSON member, where the
        # rdfc proof covers the dataset it expands to.
        for suite in (JCS, RDFC):
            try:
                proof = check_proofs(document, keys, suite, options, self._verifier)
            except ProofError as cause:
                trail.failed(f"proof {suite}", str(cause))
                return False
            told = {member: str(proof[member]) for member in _TOLD_OF_A_PROOF if member in proof}
            trail.passed(
                f"proof {suite}", "the signature matches", told | {"key": keys.multikeys[proof["verificationMethod"]]}
            )
        return True

    def _key_period(self, trail: Trail, created: datetime, method: str, keys: IssuerKeys) -> None:
        told = created.isoformat()
        if created > self._now:
            trail.failed("key period", f"the proof was created in the future, at {told}")
        elif keys.periods is None:
            tell = trail.unknown if keys.periods_forged else trail.warned
            tell("key period", f"the periods of the keys are not known: {keys.periods_missing}")
        elif problem := _outside_period(created, method, keys):
            trail.failed("key period", problem, {"created": told})
        else:
            trail.passed("key period", "the key was in use when it signed", {"created": told})

    def _dates(self, trail: Trail, credential: Read) -> None:
        evidence = {"now": self._now.isoformat(), "validFrom": credential.valid_from.isoformat()}
        if credential.valid_until is not None:
            evidence["validUntil"] = credential.valid_until.isoformat()
        if credential.valid_from > self._now:
            trail.failed("dates", f"not valid before {credential.valid_from.isoformat()}", evidence)
        elif credential.valid_until is not None and credential.valid_until < self._now:
            trail.failed("dates", f"expired at {credential.valid_until.isoformat()}", evidence, "expired")
        else:
            trail.passed("dates", "valid at this instant", evidence)

    def _status(self, trail: Trail, place: StatusPlace | None, keys: IssuerKeys) -> bool:
        """Tells whether a fresh list could be read."""
        if place is None:
            trail.warned("status", "the credential names no status list: if it was revoked, nobody could see it")
            return False
        evidence = {"list": place.list_url, "index": str(place.index), "purpose": place.purpose}
        try:
            found = self._resolver.status_list(place.list_url, keys)
            marked = _marked(found, place)
        except (Unknown, StatusListError, FormError) as cause:
            trail.unknown("status", f"whether it is revoked is not known: {cause}", evidence)
            return False
        evidence |= {"validUntil": found.valid_until, "ttl": found.ttl}
        if marked:
            verdict: Verdict = "revoked" if place.purpose == "revocation" else "suspended"
            trail.failed("status", f"the issuer has {verdict} this credential", evidence, verdict)
        else:
            trail.passed("status", f"no {place.purpose} as of the list", evidence)
        return True

    def _state(self, trail: Trail, credential: Read, keys: IssuerKeys, fresh_list: bool) -> None:
        where = credential.state_url
        if where is None:
            return
        try:
            found = self._resolver.state(where, credential.url, keys)
        except Unknown as cause:
            more = "the status list is fresh and decides" if fresh_list else "and neither does the status list tell"
            trail.warned("state", f"{cause}; {more}", {"state": where})
            return
        evidence = {"state": where, "validUntil": found.valid_until}
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


def _marked(found: StatusList, place: StatusPlace) -> bool:
    if place.purpose not in found.purposes:
        raise FormError(
            f"the list is for {' and '.join(found.purposes)!r} and the credential asks for {place.purpose!r}"
        )
    return is_set(found.bits, place.index)


def _outside_period(created: datetime, method: str, keys: IssuerKeys) -> str | None:
    period = (keys.periods or {}).get(method)
    if period is None:
        return f"keys.json does not list the key {method}"
    if period.public_key != keys.listed(method):
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

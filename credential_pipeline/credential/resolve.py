"""What a verifier asks the world: the issuer's keys, a status list, a state object; each checked before it is believed.

Belongs here: fetching through an injected World, checking what came, and remembering it. Does not belong here: HTTP,
files, and the verdict on a credential.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from credential_pipeline.credential.contexts import VC2
from credential_pipeline.credential.many import ManyVerifier
from credential_pipeline.credential.multikey import (
    MultibaseError,
    decode_base58btc,
    decode_ed25519_public,
)
from credential_pipeline.credential.proof import BOTH, JCS, RDFC, ProofError, ProofOptions, verify_proof
from credential_pipeline.credential.site_documents import STATES
from credential_pipeline.credential.status_list import StatusListError, decode
from credential_pipeline.credential.strict_json import NotStrictJson, parse, take
from credential_pipeline.credential.text import BuildError, FormError, did_web, parse_instant

MAX_LIST_BYTES = 4 << 20  # of JSON: ten times the text of a list of a million entries at random
MAX_OTHER_BYTES = 1 << 20

T = TypeVar("T")


class Unreachable(ValueError):
    """A World could not get a URL. Not evidence against the credential."""


class World(Protocol):
    """How the verifier reaches documents: HTTP (refusing private addresses), a site folder, a bundle."""

    def fetch(self, url: str) -> bytes:
        """The bytes at `url`; raises Unreachable."""
        ...


class Unknown(ValueError):
    """Nothing that can be believed came back, so the question stays open."""


class Refused(ValueError):
    """What came back is genuine, and speaks against the credential."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time in which a key signed, from keys.json; `public_key`: its Multikey text, or its JWK."""

    public_key: str | dict[str, Any]
    valid_from: datetime
    valid_until: datetime | None
    compromised: bool


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """The keys of one did:web that may assert, and their periods if keys.json could be read and believed."""

    did: str
    multikeys: dict[str, str]
    jwks: dict[str, dict[str, Any]]
    """The keys of JWTs, as did.json has them; jwt.py judges them when one is used."""
    periods: dict[str, Period] | None
    periods_missing: str = ""
    periods_forged: bool = False

    def listed(self, method: str) -> str | dict[str, Any]:
        """The key of a verification method that is known to assert: its Multikey text, or its JWK."""
        return self.multikeys[method] if method in self.multikeys else self.jwks[method]

    def public_key(self, method: str) -> bytes:
        """The raw key of a verification method; raises ProofError if it may not assert for this issuer."""
        if method not in self.multikeys:
            raise ProofError(f"the key {method!r} is not in the assertionMethod of {self.did}: unknown or withdrawn")
        return decode_ed25519_public(self.multikeys[method])


@dataclass(frozen=True, slots=True)
class StatusList:
    """A believed and fresh status list."""

    purposes: tuple[str, ...]
    bits: bytes
    valid_until: str
    ttl: str
    """Milliseconds, as the list says; empty if it does not. A Verifier looks at one instant and asks once."""


@dataclass(frozen=True, slots=True)
class State:
    """A believed and fresh state object."""

    state: str
    superseded_by: str | None
    reason: str | None
    valid_until: str


def did_web_url(did: str) -> str:
    """The https URL of the DID document of a did:web (did:web 3.2); raises BuildError for anything else."""
    parts = [unquote(part) for part in did_web(did, "did").removeprefix("did:web:").split(":")]
    if any("/" in part or part in ("", ".", "..") for part in parts):
        raise BuildError(f"{did!r} does not name a host and a path (did:web 3.1)")
    return f"https://{'/'.join(parts)}/did.json" if parts[1:] else f"https://{parts[0]}/.well-known/did.json"


def check_proofs(
    document: dict[str, Any], keys: IssuerKeys, suite: str, options: ProofOptions, verifier: ManyVerifier | None = None
) -> dict[str, Any]:
    """Checks the proof of `suite` in a document with exactly the two proofs of BOTH, in that order, by one key.

    Returns that proof; raises ProofError.
    """
    proofs = document.get("proof")
    if not isinstance(proofs, list) or [p.get("cryptosuite") if isinstance(p, dict) else p for p in proofs] != list(
        BOTH
    ):
        raise ProofError(f"proof is not an array of exactly two proofs, {BOTH[0]} and then {BOTH[1]}")
    for member in ("created", "verificationMethod"):
        if proofs[0].get(member) != proofs[1].get(member):
            raise ProofError(f"the two proofs differ in {member}")
    proof = proofs[BOTH.index(suite)]
    method = proof.get("verificationMethod")
    if not isinstance(method, str):
        raise ProofError("the proof names no verificationMethod")
    if verifier is None:
        verify_proof(document, proof, keys.public_key(method), options=options)
    else:
        verifier.verify_proof(document, proof, keys.public_key(method), options)
    return dict(proof)


class Resolver:
    """Asks a World, at one instant; issuers and status lists are asked for once, state objects each time."""

    def __init__(self, world: World, now: datetime) -> None:
        self._world = world
        self._now = now
        self._options = ProofOptions(now=now)
        self._issuers: dict[str, IssuerKeys | ValueError] = {}
        self._lists: dict[tuple[str, str], StatusList | ValueError] = {}

    def issuer(self, did: str) -> IssuerKeys:
        """The keys of the issuer; raises Unknown if did.json is out of reach, Refused if it is wrong."""
        return _remembered(self._issuers, did, lambda: self._ask_issuer(did))

    def status_list(self, list_url: str, keys: IssuerKeys) -> StatusList:
        """The status list at `list_url`, issued by the holder of `keys`; raises Unknown."""
        return _remembered(self._lists, (list_url, keys.did), lambda: self._ask_list(list_url, keys))

    def state(self, state_url: str, credential: str, keys: IssuerKeys) -> State:
        """The state object of the credential; raises Unknown."""
        document = self._fetch(state_url, MAX_OTHER_BYTES)
        try:
            _expect(document, "id", state_url)
            _expect(document, "issuer", keys.did)
            _expect(document, "credential", credential)
            self._check_one_proof(document, keys)
            state = take(document, "state", str, "state object")
            if state not in STATES:
                raise FormError(f"the state {state!r} is not one of {', '.join(STATES)}")
            until = self._check_fresh(document, "asOf")
        except (FormError, ProofError) as cause:
            raise Unknown(f"the state object {state_url} cannot be believed: {cause}") from cause
        by, reason = document.get("supersededBy"), document.get("reason")
        return State(state, by if isinstance(by, str) else None, reason if isinstance(reason, str) else None, until)

    def _ask_issuer(self, did: str) -> IssuerKeys:
        try:
            did_url = did_web_url(did)
        except BuildError as cause:
            raise Refused(f"the issuer {did!r} is not a did:web: {cause}") from cause
        document = self._fetch(did_url, MAX_OTHER_BYTES)
        try:
            multikeys, jwks = _asserting_keys(document, did)
        except (FormError, MultibaseError) as cause:
            raise Refused(f"{did_url} is not a DID document of {did}: {cause}") from cause
        keys = IssuerKeys(did, multikeys, jwks, None)
        keys_url = did_url.removesuffix("did.json").removesuffix(".well-known/") + "keys.json"
        try:
            raw = self._world.fetch(keys_url)
        except Unreachable as cause:
            return replace(keys, periods_missing=f"{keys_url} is out of reach: {cause}")
        try:
            periods = self._periods(parse(raw, MAX_OTHER_BYTES), keys, keys_url)
        except (NotStrictJson, FormError, ProofError) as cause:
            return replace(keys, periods_missing=f"{keys_url} cannot be believed: {cause}", periods_forged=True)
        return replace(keys, periods=periods)

    def _periods(self, document: dict[str, Any], keys: IssuerKeys, keys_url: str) -> dict[str, Period]:
        _expect(document, "id", keys_url)
        _expect(document, "issuer", keys.did)
        self._check_one_proof(document, keys)
        periods = {}
        for entry in take(document, "keys", list, "keys.json"):
            if not isinstance(entry, dict):
                raise FormError("keys.json.keys holds something else than objects")
            until = take(entry, "validUntil", str, "keys") if "validUntil" in entry else None
            periods[take(entry, "id", str, "keys")] = Period(
                take(entry, "publicKeyJwk", dict, "keys")
                if "publicKeyJwk" in entry
                else take(entry, "publicKeyMultibase", str, "keys"),
                parse_instant(take(entry, "validFrom", str, "keys"), "keys.validFrom"),
                None if until is None else parse_instant(until, "keys.validUntil"),
                "compromisedAt" in entry,
            )
        return periods

    def _ask_list(self, list_url: str, keys: IssuerKeys) -> StatusList:
        document = self._fetch(list_url, MAX_LIST_BYTES)
        try:
            _expect(document, "@context", [VC2])
            _expect(document, "id", list_url)
            _expect(document, "issuer", keys.did)
            if "BitstringStatusListCredential" not in take(document, "type", list, "status list"):
                raise FormError("type does not name a BitstringStatusListCredential")
            for suite in (JCS, RDFC):
                check_proofs(document, keys, suite, self._options)
            until = self._check_fresh(document, "validFrom")
            subject = take(document, "credentialSubject", dict, "status list")
            _expect(subject, "type", "BitstringStatusList")
            purposes = _purposes(subject.get("statusPurpose"))
            ttl = take(subject, "ttl", int, "status list") if "ttl" in subject else ""
            bits = decode(take(subject, "encodedList", str, "status list"))
        except (FormError, ProofError, StatusListError) as cause:
            raise Unknown(f"the status list {list_url} cannot be believed: {cause}") from cause
        return StatusList(purposes, bits, until, str(ttl))

    def _fetch(self, url: str, max_bytes: int) -> dict[str, Any]:
        try:
            return parse(self._world.fetch(url), max_bytes)
        except Unreachable as cause:
            raise Unknown(f"{url} is out of reach: {cause}") from cause
        except NotStrictJson as cause:
            raise Unknown(f"{url} is {cause}") from cause

    def _check_one_proof(self, document: dict[str, Any], keys: IssuerKeys) -> None:
        """keys.json and state objects: plain JSON with one eddsa-jcs-2022 proof."""
        proof = document.get("proof")
        if not isinstance(proof, dict) or proof.get("cryptosuite") != JCS or "@context" in document:
            raise ProofError(f"proof is not one {JCS} proof over plain JSON")
        method = str(proof.get("verificationMethod"))
        verify_proof(document, proof, keys.public_key(method), options=self._options)

    def _check_fresh(self, document: dict[str, Any], starts: str) -> str:
        if parse_instant(take(document, starts, str, "document"), starts) > self._now:
            raise FormError(f"{starts} {document[starts]} is in the future")
        until = take(document, "validUntil", str, "document")
        if parse_instant(until, "validUntil") < self._now:
            raise FormError(f"it went stale at {until}: the issuer has to publish a newer one")
        return until


def _remembered(memory: dict[Any, T | ValueError], key: Any, ask: Callable[[], T]) -> T:
    if key not in memory:
        try:
            memory[key] = ask()
        except (Unknown, Refused) as cause:
            memory[key] = cause
    found = memory[key]
    if isinstance(found, ValueError):
        raise found.with_traceback(None)  # or each use would lengthen the one traceback
    return found


def _expect(document: dict[str, Any], member: str, value: Any) -> None:
    if document.get(member) != value:
        raise FormError(f"{member} is {document.get(member)!r} and not {value!r}"[:300])


def _purposes(value: Any) -> tuple[str, ...]:
    """One purpose or several (Bitstring Status List 2.2)."""
    purposes = value if isinstance(value, list) else [value]
    if not purposes or not all(isinstance(purpose, str) for purpose in purposes):
        raise FormError("statusPurpose is neither a string nor an array of strings")
    return tuple(purposes)


def _asserting_keys(document: dict[str, Any], did: str) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """The Ed25519 Multikeys and the JWKs among the assertion methods, by id; other kinds of key are nothing to us."""
    _expect(document, "id", did)
    asserting = document.get("assertionMethod", [])
    if not isinstance(asserting, list):
        raise FormError("assertionMethod is not an array")
    multikeys: dict[str, str] = {}
    jwks: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for method in take(document, "verificationMethod", list, "did.json"):
        if not isinstance(method, dict):
            raise FormError("verificationMethod holds something else than objects")
        if method.get("id") not in asserting or method.get("type") not in ("Multikey", "JsonWebKey"):
            continue
        name = take(method, "id", str, "verificationMethod")
        if not name.startswith(did + "#"):
            raise FormError(f"the assertionMethod {name[:80]!r} is not one of {did}")
        _expect(method, "controller", did)  # Controlled Identifiers 1.0, 3.3
        if name in seen:
            raise FormError(f"{name} is listed twice: which key is meant?")
        seen.add(name)
        if method["type"] == "JsonWebKey":
            jwks[name] = take(method, "publicKeyJwk", dict, "verificationMethod")
        elif (multibase := _ed25519_multikey(method)) is not None:
            multikeys[name] = multibase
    return multikeys, jwks


def _ed25519_multikey(method: dict[str, Any]) -> str | None:
    """The Multikey text, None if it is another kind of key; raises MultibaseError for a text that is no multibase."""
    multibase = take(method, "publicKeyMultibase", str, "verificationMethod")
    decode_base58btc(multibase)
    try:
        decode_ed25519_public(multibase)
    except MultibaseError:
        return None
    return multibase

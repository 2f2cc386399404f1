"""What is published beside credentials so that they can be checked: status lists, did.json, keys.json, state objects.

Belongs here: their unsigned JSON. Does not belong here: signing, file names, headers and the bitstring itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential.achievement import Issuer
from credential_pipeline.credential.contexts import DID1, JWK1, MULTIKEY1, VC2
from credential_pipeline.credential.jwk import jwk_of
from credential_pipeline.credential.multikey import Algorithm, MultibaseError, algorithm_of, decode_ed25519_public
from credential_pipeline.credential.text import BuildError, did_web, instant, text, url

STATES = ("current", "superseded", "revoked", "suspended", "withdrawn")


@dataclass(frozen=True, slots=True)
class KeyPeriod:
    """When a signing key was in use; `id` is the verification method, a DID URL with fragment."""

    id: str
    public_key_multibase: str
    valid_from: datetime
    valid_until: datetime | None = None
    compromised_at: datetime | None = None


def status_list_credential(
    list_url: str,
    issuer: Issuer | str,
    purpose: str,
    encoded_list: str,
    valid_from: datetime,
    valid_until: datetime,
    ttl_ms: int,
) -> dict[str, Any]:
    """The unsigned BitstringStatusListCredential (Bitstring Status List 2.2). `ttl_ms` is in milliseconds.

    `issuer` is written as the bare did:web: the VC context alone has no Profile. Raises BuildError.
    """
    if purpose not in ("revocation", "suspension"):
        raise BuildError(f"statusPurpose is {purpose!r}: use revocation or suspension (Bitstring Status List 2.2)")
    if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int) or ttl_ms <= 0:
        raise BuildError(f"ttl is {ttl_ms!r}: a positive number of milliseconds is needed (Bitstring Status List 2.2)")
    if not encoded_list.startswith("u"):
        raise BuildError("encodedList is not multibase base64url: use status_list.encode (Bitstring Status List 2.2)")
    return {
        "@context": [VC2],
        "id": url(list_url, "status list id"),
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": did_web(issuer if isinstance(issuer, str) else issuer.id, "issuer"),
        **_period(valid_from, valid_until),
        "credentialSubject": {
            "id": f"{list_url}#list",
            "type": "BitstringStatusList",
            "statusPurpose": purpose,
            "encodedList": encoded_list,
            "ttl": ttl_ms,
        },
    }


def did_document(did: str, keys: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
    """did.json for (fragment, public key as text, may assert) of each key, a retired one included (DID 1.0, 5).

    A compromised key is listed without `may assert`: verifiers then refuse all it signed. A key of documents is a
    Multikey, a key of JWTs a JsonWebKey (Controlled Identifiers 1.0, 2.2.2 and 2.2.3). Raises BuildError.
    """
    did_web(did, "did")
    if not keys:
        raise BuildError("a DID document without keys verifies nothing: list at least one")
    return {
        "@context": _contexts(multibase for _, multibase, _ in keys),
        "id": did,
        "verificationMethod": [
            {
                "id": f"{did}#{text(fragment, 'key id')}",
                "type": "Multikey" if _algorithm(multibase) == "Ed25519" else "JsonWebKey",
                "controller": did,
                **_public_key(multibase),
            }
            for fragment, multibase, _ in keys
        ],
        # Strings, not objects: an embedded method is read by few verifiers.
        **_unless_empty("assertionMethod", [f"{did}#{fragment}" for fragment, _, asserts in keys if asserts]),
    }


def keys_document(keys_url: str, issuer_did: str, keys: Sequence[KeyPeriod], as_of: datetime) -> dict[str, Any]:
    """The content of /keys.json, plain JSON: which key signed when. Sign it with `eddsa-jcs-2022` alone."""
    entries = []
    for key in keys:
        entry = {
            "id": key.id,
            **_public_key(key.public_key_multibase),
            "validFrom": instant(key.valid_from, "keys.validFrom"),
        }
        if not key.id.startswith(issuer_did + "#"):
            raise BuildError(f"the key {key.id!r} is not one of {issuer_did}")
        if key.valid_until is not None:
            entry["validUntil"] = instant(key.valid_until, "keys.validUntil")
        if key.compromised_at is not None:
            entry["compromisedAt"] = instant(key.compromised_at, "keys.compromisedAt")
        entries.append(entry)
    if not entries:
        raise BuildError("keys.json without keys says nothing: list at least one")
    return {
        "id": url(keys_url, "keys.json id"),
        "issuer": did_web(issuer_did, "issuer"),
        "keys": entries,
        "asOf": instant(as_of, "asOf"),
    }


def state_document(
    state_url: str,
    credential_url: str,
    issuer_did: str,
    state: str,
    version: int,
    as_of: datetime,
    valid_until: datetime,
    superseded_by: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """The content of /state/PUBLIC-ID.json, plain JSON and short-lived. Sign it with `eddsa-jcs-2022`.

    `superseded_by`: the URL of the newer version, with state `superseded` and no other. Raises BuildError.
    """
    if state not in STATES:
        raise BuildError(f"the state {state!r} is not one of {', '.join(STATES)}")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BuildError(f"the version of a state counts from 1, it is not {version!r}")
    if (superseded_by is not None) != (state == "superseded"):
        raise BuildError("superseded_by goes with the state 'superseded', and with no other")
    document: dict[str, Any] = {
        "id": url(state_url, "state id"),
        "issuer": did_web(issuer_did, "issuer"),
        "credential": url(credential_url, "credential"),
        "state": state,
        "version": version,
        "asOf": instant(as_of, "asOf"),
        "validUntil": _period(as_of, valid_until)["validUntil"],
    }
    if superseded_by is not None:
        document["supersededBy"] = url(superseded_by, "supersededBy")
    if reason is not None:
        document["reason"] = text(reason, "reason")
    return document


def _period(starts: datetime, ends: datetime) -> dict[str, str]:
    period = {"validFrom": instant(starts, "validFrom"), "validUntil": instant(ends, "validUntil")}
    if ends <= starts:
        raise BuildError(
            f"validUntil {period['validUntil']} is not after {period['validFrom']} (VC Data Model 2.0, 4.9)"
        )
    return period


def _public_key(multibase: str) -> dict[str, Any]:
    """The public key as its readers want it: browsers and proof libraries a Multikey, JWT libraries a JWK."""
    try:
        if _algorithm(multibase) != "Ed25519":
            return {"publicKeyJwk": jwk_of(multibase)}
        decode_ed25519_public(multibase)
    except MultibaseError as cause:
        raise BuildError(f"publicKeyMultibase is {cause}") from cause
    return {"publicKeyMultibase": multibase}


def _contexts(multibases: Iterable[str]) -> list[str]:
    algorithms = {_algorithm(multibase) for multibase in multibases}
    needed = {MULTIKEY1: "Ed25519" in algorithms, JWK1: bool(algorithms - {"Ed25519"})}
    return [DID1, *(context for context, is_needed in needed.items() if is_needed)]


def _algorithm(multibase: str) -> Algorithm:
    try:
        return algorithm_of(multibase)
    except MultibaseError as cause:
        raise BuildError(f"publicKeyMultibase is {cause}") from cause


def _unless_empty(member: str, values: list[str]) -> dict[str, list[str]]:
    return {member: values} if values else {}

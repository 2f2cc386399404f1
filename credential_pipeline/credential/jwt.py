"""A credential as a JWT: VC-JWT (VC-JOSE-COSE 1.0, 3.1.1; Open Badges 3.0, 8.2) with ES256 or RS256.

Belongs here: writing and strict reading of the compact form, its header and claims, and checking its signature. Does
not belong here: whose key it is (the caller has it from did.json), what the credential means, and any other JWT.

EdDSA is neither written nor read: 1EdTech's validator refuses it. What a header says about the key is only ever
compared with what the issuer's own address says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from credential_pipeline.credential.base64url import Base64urlError, decode, encode
from credential_pipeline.credential.jwk import JwkError, check_signature, read_jwk
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.multikey import algorithm_of
from credential_pipeline.credential.strict_json import NotStrictJson, parse
from credential_pipeline.credential.text import BuildError, FormError, instant, parse_instant, serialize

MEDIA_TYPE = "application/vc+jwt"
MAX_JWT_BYTES = 1 << 20
MAX_HEADER_BYTES = 8 << 10
MAX_SIGNATURE_BYTES = 1 << 10
"""RSA of 8,192 bits."""

ALGORITHMS = ("ES256", "RS256")
CLAIMS = ("iss", "sub", "jti", "nbf", "exp", "iat", "aud")
"""Registered claims (RFC 7519 4.1) that may stand beside the credential's members."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999 = 253_370_764_800
_HEADER = {"alg", "typ", "cty", "kid", "jwk"}
_TYPES = {"vc+jwt", "application/vc+jwt", "jwt"}  # W3C: SHOULD be vc+jwt; 1EdTech: JWT or absent
_COMPACT = re.compile(rb"\s*eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\s*\Z")
_DID_URL = re.compile(r"did:[a-z0-9]+:[^\s?#]+#[^\s#]+\Z")


class JwtError(ValueError):
    """The JWT does not hold, or is none; the text says which part, and quotes at most 40 characters of it."""


@dataclass(frozen=True, slots=True)
class VcJwt:
    """A JWT that has the right form. Nothing in it is believed before `verify_jwt`.

    Attributes:
        algorithm: ES256 or RS256.
        key_id: the verification method it names, a DID URL of its issuer; None when it only shows a key.
        header: the JOSE header.
        claims: the payload, as it is.
        credential: the payload without registered claims.
        signing_input: what the signature is over (RFC 7515 5.2).
        signature: the JWS signature.
    """

    algorithm: str
    key_id: str | None
    header: dict[str, Any]
    claims: dict[str, Any]
    credential: dict[str, Any]
    signing_input: bytes
    signature: bytes

    @property
    def signed_at(self) -> datetime:
        """When it says it was signed: `iat`, else `nbf`; for the key's period, as `created` is in a proof."""
        seconds: int = self.claims["iat"] if "iat" in self.claims else self.claims["nbf"]
        return _EPOCH + timedelta(seconds=seconds)


def looks_like_jwt(data: bytes) -> bool:
    """Whether to read these bytes as a JWT: three parts, the first beginning as JSON does; white space around them."""
    return len(data) <= MAX_JWT_BYTES and _COMPACT.match(data) is not None


def sign_jwt(credential: Mapping[str, Any], signer: Signer, issued_at: datetime | None = None) -> str:
    """The compact form of `credential`, without any `proof`; each signing of ES256 gives another one.

    `issued_at`: the instant (aware, whole seconds) to write as `iat`, which a key's period is judged by.

    Raises:
        BuildError: an Ed25519 key, a credential without issuer, id or validFrom, a member called like a claim.
    """
    algorithm = algorithm_of(signer.public_key_multibase)
    signing_input = unsigned_jwt(credential, algorithm, signer.verification_method, issued_at)
    return signed_jwt(signing_input, signer.sign(signing_input.encode("ascii")))


def unsigned_jwt(credential: Mapping[str, Any], algorithm: str, key_id: str, issued_at: datetime | None) -> str:
    """What the signature of such a JWT is over (RFC 7515 5.1): the same input gives the same text, for good.

    Raises what `sign_jwt` raises.
    """
    if algorithm not in ALGORITHMS:
        raise BuildError(f"a JWT is signed with ES256 or RS256: {key_id} is a key of {algorithm}")
    unsecured = {member: value for member, value in credential.items() if member != "proof"}
    if taken := sorted({*CLAIMS, "vc"} & set(unsecured)):
        raise BuildError(f"the credential has members called {', '.join(taken)}: they would be read as claims")
    try:
        claims = _claims_of(unsecured)
        if issued_at is not None:
            claims["iat"] = _numeric_date(instant(issued_at, "iat"), "iat")
    except (JwtError, FormError) as cause:
        raise BuildError(f"the credential cannot be a JWT: {cause}") from cause
    header = {"alg": algorithm, "typ": "vc+jwt", "kid": key_id}
    return f"{encode(serialize(header))}.{encode(serialize(claims | unsecured))}"


def signed_jwt(signing_input: str, signature: bytes) -> str:
    """The compact form (RFC 7515 7.1)."""
    return f"{signing_input}.{encode(signature)}"


def read_jwt(data: bytes, max_bytes: int = MAX_JWT_BYTES) -> VcJwt:
    """A VC-JWT in compact form (RFC 7515 7.1), nothing around it; its signature is not looked at yet.

    Raises:
        JwtError: too long; another form; base64url or JSON with a second spelling; a header with other members,
            another algorithm, `crit` or `b64`; claims that do not say what the credential says.
    """
    if len(data) > max_bytes:
        raise JwtError(f"{len(data)} bytes are more than the {max_bytes} that are read")
    parts = data.split(b".", 3)
    if len(parts) != 3:
        raise JwtError("not the compact form: three parts with a dot between them (RFC 7515 7.1)")
    if len(parts[0]) > MAX_HEADER_BYTES or len(parts[2]) > 2 * MAX_SIGNATURE_BYTES:
        raise JwtError("the header or the signature is too long")
    raw_header, payload, signature = (_decoded(*part) for part in zip(_PARTS, parts, strict=True))
    header = _object("header", raw_header, MAX_HEADER_BYTES)
    claims = _object("payload", payload, max_bytes)
    algorithm = _check_header(header)
    key_id = _key_named(header)
    credential = {member: value for member, value in claims.items() if member not in CLAIMS}
    _check_claims(claims, credential)
    if key_id is not None and key_id.partition("#")[0] != claims["iss"]:
        raise JwtError(f"the header's kid {key_id[:40]!r} is no key of the issuer")
    return VcJwt(algorithm, key_id, header, claims, credential, parts[0] + b"." + parts[1], signature)


def key_of(jwt: VcJwt, jwks: Mapping[str, Mapping[str, Any]]) -> str:
    """Which of the keys that may assert for the issuer (verification method -> JWK) signed, as the header has it.

    Raises:
        JwtError: none of them.
    """
    if jwt.key_id is not None:
        if jwt.key_id not in jwks:
            raise JwtError(f"the key {jwt.key_id[:80]!r} is not in the issuer's assertionMethod: unknown or withdrawn")
        return jwt.key_id
    shown = _public(jwt.header["jwk"])
    found = next((method for method, jwk in jwks.items() if _public(jwk) == shown), None)
    if found is None:
        raise JwtError("the key in the header is not in the issuer's assertionMethod: unknown or withdrawn")
    return found


def verify_jwt(jwt: VcJwt, jwk: Mapping[str, Any]) -> None:
    """Checks the signature with the JWK that the issuer's did.json gives for `key_of`.

    Raises:
        JwtError: the signature is not this key's, the key is not one of the header's `alg`, or not the one shown.
    """
    if "jwk" in jwt.header and _public(jwt.header["jwk"]) != _public(jwk):
        raise JwtError("the key in the header is not the one that did.json gives")
    try:
        key = read_jwk(jwk, jwt.algorithm)
    except JwkError as cause:
        raise JwtError(f"the issuer's key does not fit the header's alg {jwt.algorithm}: {cause}") from cause
    if not check_signature(key, jwt.signature, jwt.signing_input):
        raise JwtError("the signature does not match: the JWT or the key was changed")


_PARTS = ("header", "payload", "signature")


def _decoded(part: str, text: bytes) -> bytes:
    try:
        data = decode(text.decode("ascii"))
    except (UnicodeDecodeError, Base64urlError) as cause:
        raise JwtError(f"the {part} is not base64url as RFC 7515 2 has it: {cause}") from cause
    if not data:
        raise JwtError(f"the {part} is empty")
    return data


def _object(part: str, data: bytes, max_bytes: int) -> dict[str, Any]:
    try:
        return parse(data, max_bytes)
    except NotStrictJson as cause:
        raise JwtError(f"the {part} is no strict JSON: {cause}") from cause


def _check_header(header: dict[str, Any]) -> str:
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise JwtError(f"the header's alg is {str(algorithm)[:40]!r}: only {' and '.join(ALGORITHMS)} are read")
    if odd := sorted(set(header) - _HEADER):
        # crit and b64 are among them (RFC 7515 4.1.11, RFC 7797): what changes the meaning is not passed over.
        raise JwtError(f"the header has other members, {', '.join(odd)[:40]!r} (Open Badges 3.0, 8.2.3)")
    if str(header.get("typ", "JWT")).lower() not in _TYPES or header.get("cty", "vc") != "vc":
        raise JwtError("the header's typ or cty is of something else than a credential (VC-JOSE-COSE 3.1.1)")
    return str(algorithm)


def _key_named(header: dict[str, Any]) -> str | None:
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or not _DID_URL.match(key_id)):
        raise JwtError("the header's kid is not a DID URL with a fragment")
    shown = header.get("jwk")
    if (shown is not None or "jwk" in header) and not isinstance(shown, dict):
        raise JwtError("the header's jwk is not an object")
    if key_id is None and shown is None:
        raise JwtError("the header names no key: neither kid nor jwk (Open Badges 3.0, 8.2.3)")
    return key_id


def _check_claims(claims: dict[str, Any], credential: dict[str, Any]) -> None:
    if "vc" in claims or "vp" in claims:
        raise JwtError("the payload has a claim vc or vp: the credential is the payload itself (VC-JOSE-COSE 3.1.1)")
    try:
        expected = _claims_of(credential)
    except FormError as cause:
        raise JwtError(f"the credential in the payload has no right form: {cause}") from cause
    for claim in ("iss", "jti", "nbf", "exp", "sub"):
        said = claims.get(claim)
        if said != expected.get(claim) or type(said) is not type(expected.get(claim)):
            raise JwtError(f"the claim {claim} does not say what the credential says (Open Badges 3.0, 8.2.6.1)")
    issued_at = claims.get("iat", 0)
    if type(issued_at) is not int or not 0 <= issued_at < _YEAR_9999:
        raise JwtError("the claim iat is no instant in whole seconds (RFC 7519 4.1.6)")


def _claims_of(credential: dict[str, Any]) -> dict[str, Any]:
    """The claims that a credential needs (Open Badges 3.0, 8.2.4.1); `sub` only where the subject has an id."""
    issuer = credential.get("issuer")
    subject = credential.get("credentialSubject")
    claims: dict[str, Any] = {
        "iss": issuer.get("id") if isinstance(issuer, dict) else issuer,
        "jti": credential.get("id"),
    }
    for claim, value in claims.items():
        if not isinstance(value, str):
            raise JwtError(f"the credential has nothing for the claim {claim}")
    if isinstance(subject, dict) and isinstance(subject.get("id"), str):
        claims["sub"] = subject["id"]
    claims["nbf"] = _numeric_date(credential.get("validFrom"), "validFrom")
    if "validUntil" in credential:
        claims["exp"] = _numeric_date(credential["validUntil"], "validUntil")
    return claims


def _numeric_date(value: Any, member: str) -> int:
    if not isinstance(value, str):
        raise JwtError(f"{member} is missing or no string")
    at = parse_instant(value, member)
    if at.microsecond:
        raise JwtError(f"{member} has a fraction of a second, which nbf and exp do not tell")
    return (at - _EPOCH) // timedelta(seconds=1)


def _public(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The members that make it this key and no other (RFC 7638 3.2)."""
    return {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e", "d") if name in jwk}

"""Credentials as JWTs: what is written, what is read, and what strangers try."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbadgeslib.errors import LibOpenBadgesException
from openbadgeslib.ob3 import OB3Verifier

from credential_pipeline.credential.base64url import Base64urlError, decode, encode
from credential_pipeline.credential.document import did_document, open_badge_credential, serialize
from credential_pipeline.credential.jwk import jwk_of, public_key_of
from credential_pipeline.credential.jwt import (
    MAX_JWT_BYTES,
    JwtError,
    key_of,
    looks_like_jwt,
    read_jwt,
    sign_jwt,
    verify_jwt,
)
from credential_pipeline.credential.text import BuildError
from credential_pipeline_tests.credential.forms import DID, FORMS, SIGNER, signed
from credential_pipeline_tests.credential.jwt_keys import POINT, jwt_signer

BOTH: tuple[Literal["ES256", "RS256"], ...] = ("ES256", "RS256")
CREDENTIAL = open_badge_credential(FORMS["validity"])


def jwks(algorithm: Literal["ES256", "RS256"]) -> dict[str, dict[str, str]]:
    signer = jwt_signer(algorithm)
    return {signer.verification_method: jwk_of(signer.public_key_multibase)}


def check(token: bytes, algorithm: Literal["ES256", "RS256"] = "ES256") -> dict[str, Any]:
    """What a verifier does with a token whose issuer's did.json it has."""
    read = read_jwt(token)
    known = jwks(algorithm)
    verify_jwt(read, known[key_of(read, known)])
    return read.credential


def token(
    header: dict[str, Any] | bytes | None = None,
    payload: dict[str, Any] | bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """A token as somebody who holds the key could write it: every part at will, the signature right."""
    signer = jwt_signer("ES256")
    right = sign_jwt(CREDENTIAL, signer).encode().split(b".")
    parts = [
        part if given is None else encode(given if isinstance(given, bytes) else serialize(given)).encode()
        for part, given in zip(right, (header, payload), strict=False)
    ]
    signing_input = b".".join(parts)
    return signing_input + b"." + encode((sign or signer.sign)(signing_input)).encode()


def der_signature(data: bytes) -> bytes:
    return POINT.sign(data, ECDSA(SHA256()))


def header(**changes: Any) -> dict[str, Any]:
    return {"alg": "ES256", "typ": "vc+jwt", "kid": f"{DID}#jwt-1"} | changes


def payload(**changes: Any) -> dict[str, Any]:
    claims = read_jwt(sign_jwt(CREDENTIAL, jwt_signer("ES256")).encode()).claims
    return {name: value for name, value in (claims | changes).items() if value is not ...}


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_written_read_and_verified(name: str, algorithm: Literal["ES256", "RS256"]) -> None:
    document = signed(FORMS[name])
    data = sign_jwt(document, jwt_signer(algorithm)).encode()
    assert looks_like_jwt(data + b"\n")
    read = read_jwt(data)
    assert read.credential == open_badge_credential(FORMS[name])
    assert read.header == {"alg": algorithm, "typ": "vc+jwt", "kid": f"{DID}#jwt-1"}
    assert read.claims["iss"] == DID
    assert read.claims["jti"] == document["id"]
    assert check(data, algorithm) == read.credential


def test_dates_are_claims_too() -> None:
    claims = read_jwt(sign_jwt(CREDENTIAL, jwt_signer("ES256")).encode()).claims
    assert claims["nbf"] == int(datetime(2025, 7, 31, 22, tzinfo=UTC).timestamp())
    assert claims["exp"] == int(datetime(2099, 1, 1, tzinfo=UTC).timestamp())
    assert "sub" not in claims  # the subject of these credentials has no id
    with_id = CREDENTIAL | {"credentialSubject": CREDENTIAL["credentialSubject"] | {"id": "did:example:ada"}}
    assert read_jwt(sign_jwt(with_id, jwt_signer("ES256")).encode()).claims["sub"] == "did:example:ada"


def test_a_jwt_says_when_it_was_signed() -> None:
    later = datetime(2025, 9, 1, tzinfo=UTC)
    data = sign_jwt(CREDENTIAL, jwt_signer("ES256"), later).encode()
    assert read_jwt(data).signed_at == later
    assert check(data) == CREDENTIAL
    assert read_jwt(sign_jwt(CREDENTIAL, jwt_signer("ES256")).encode()).signed_at == datetime(
        2025, 7, 31, 22, tzinfo=UTC
    )


@pytest.mark.parametrize("algorithm", BOTH)
def test_other_peoples_libraries_verify_it(algorithm: Literal["ES256", "RS256"]) -> None:
    signer = jwt_signer(algorithm)
    data = sign_jwt(CREDENTIAL, signer, datetime(2025, 9, 1, tzinfo=UTC))
    key = pyjwt.PyJWK.from_dict(jwk_of(signer.public_key_multibase))
    claims = pyjwt.decode(data, key, algorithms=[algorithm], options={"require": ["iss", "nbf", "jti", "exp"]})
    assert claims["credentialSubject"] == CREDENTIAL["credentialSubject"]

    pem = public_key_of(signer.public_key_multibase).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert OB3Verifier(pem).verify(data).id == CREDENTIAL["id"]
    did = did_document(DID, [("jwt-1", signer.public_key_multibase, True)])
    verifier = OB3Verifier.for_issuer_did(DID, download=lambda url: serialize(did))
    assert verifier.verify(data).id == CREDENTIAL["id"]
    signature_changed = data[:-3] + ("A" if data[-3] != "A" else "B") + data[-2:]
    with pytest.raises(LibOpenBadgesException):
        verifier.verify(signature_changed)


@pytest.mark.parametrize("algorithm", BOTH)
def test_what_other_peoples_libraries_write_is_verified(algorithm: Literal["ES256", "RS256"]) -> None:
    """Header `typ: JWT` and the key as `jwk` instead of `kid`, as Open Badges 3.0 has it."""
    signer = jwt_signer(algorithm)
    jwk = {name: value for name, value in jwk_of(signer.public_key_multibase).items() if name != "alg"}
    data = pyjwt.encode(payload(), signer._key, algorithm=algorithm, headers={"jwk": jwk}).encode()
    assert read_jwt(data).header["typ"] == "JWT"
    assert check(data, algorithm) == CREDENTIAL


def test_an_es256_signature_is_another_one_each_time_and_an_rs256_one_is_not() -> None:
    assert sign_jwt(CREDENTIAL, jwt_signer("ES256")) != sign_jwt(CREDENTIAL, jwt_signer("ES256"))
    assert sign_jwt(CREDENTIAL, jwt_signer("RS256")) == sign_jwt(CREDENTIAL, jwt_signer("RS256"))


def test_every_changed_character_is_noticed() -> None:
    """Each character of the token, replaced by its neighbour in the alphabet, also where only spare bits change."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    data = sign_jwt(open_badge_credential(FORMS["least"]), jwt_signer("ES256")).encode()
    for at, byte in enumerate(data):
        other = alphabet[alphabet.index(byte) ^ 1] if byte in alphabet else alphabet[0]
        with pytest.raises(JwtError):
            check(data[:at] + bytes((other,)) + data[at + 1 :])
    for changed in (data[:-1], data + b"A", data + b"\n", b" " + data, data + b"=", data.replace(b".", b"..", 1)):
        with pytest.raises(JwtError):
            check(changed)


@pytest.mark.parametrize(
    ("told", "data"),
    [
        ("alg is 'none'", lambda: token(header(alg="none"), sign=lambda _: b"x")),
        ("alg is 'HS256'", lambda: token(header(alg="HS256"))),
        ("alg is 'EdDSA'", lambda: token(header(alg="EdDSA"), sign=SIGNER.sign)),
        ("alg is 'es256'", lambda: token(header(alg="es256"))),
        ("alg is 'None'", lambda: token({"typ": "JWT", "kid": f"{DID}#jwt-1"})),
        ("does not fit the header's alg RS256", lambda: token(header(alg="RS256"))),
        ("other members, 'crit, exp'", lambda: token(header(crit=["exp"], exp=1))),
        ("other members, 'b64, crit'", lambda: token(header(b64=False, crit=["b64"]))),
        ("other members, 'b64'", lambda: token(header(b64=False))),
        ("other members, 'jku'", lambda: token(header(jku="https://attacker.example/keys"))),
        ("typ or cty", lambda: token(header(typ="at+jwt"))),
        ("typ or cty", lambda: token(header(cty="JWT"))),
        ("names no key", lambda: token({"alg": "ES256"})),
        ("kid is not a DID URL", lambda: token(header(kid="#jwt-1"))),
        ("kid is not a DID URL", lambda: token(header(kid=7))),
        ("no key of the issuer", lambda: token(header(kid="did:web:attacker.example#jwt-1"))),
        ("unknown or withdrawn", lambda: token(header(kid=f"{DID}#jwt-2"))),
        ("jwk is not an object", lambda: token(header(jwk="x"))),
        ("jwk is not an object", lambda: token(header(jwk=None))),
        ("stands twice", lambda: token(b'{"alg":"ES256","alg":"ES256","kid":"did:web:a#b"}')),
        ("stands twice", lambda: token(payload=b'{"iss":"did:web:x",' + serialize(payload())[1:])),
        ("no strict JSON", lambda: token(b"eyJ")),
        ("no strict JSON", lambda: token(payload=b"[1]")),
        ("no strict JSON", lambda: token(payload=b'{"a":' * 100 + b"1" + b"}" * 100)),
        ("claim vc or vp", lambda: token(payload=payload(vc=CREDENTIAL))),
        ("claim iss", lambda: token({"alg": "ES256", "kid": f"{DID}#jwt-1"}, payload(iss="did:web:x.example"))),
        ("claim iss", lambda: token(payload=payload(iss=...))),
        ("claim jti", lambda: token(payload=payload(jti="urn:uuid:1"))),
        ("claim jti", lambda: token(payload=payload(jti=...))),
        ("claim nbf", lambda: token(payload=payload(nbf=0))),
        ("claim nbf", lambda: token(payload=payload(nbf=float(payload()["nbf"])))),
        ("claim nbf", lambda: token(payload=payload(nbf=...))),
        ("claim exp", lambda: token(payload=payload(exp=payload()["exp"] + 1))),
        ("claim exp", lambda: token(payload=payload(exp=...))),
        ("claim exp", lambda: token(payload=payload(validUntil=...))),
        ("claim iat", lambda: token(payload=payload(iat="2025"))),
        ("claim iat", lambda: token(payload=payload(iat=10**14))),
        ("claim iat", lambda: token(payload=payload(iat=True))),
        ("claim sub", lambda: token(payload=payload(sub="did:example:eve"))),
        ("validFrom is missing", lambda: token(payload=payload(validFrom=...))),
        ("no right form", lambda: token(payload=payload(validFrom="yesterday"))),
        ("fraction of a second", lambda: token(payload=payload(validFrom="2025-07-31T22:00:00.5Z"))),
        ("signature does not match", lambda: token(sign=lambda data: bytes(64))),
        ("signature does not match", lambda: token(sign=lambda data: b"\xff" * 64)),
        ("signature does not match", lambda: token(sign=der_signature)),
        ("signature does not match", lambda: token(sign=jwt_signer("RS256").sign)),
        ("three parts", lambda: token() + b".x"),
        ("three parts", lambda: b"e30"),
        ("is empty", lambda: token().rpartition(b".")[0] + b"."),
        ("is empty", lambda: b"." + token().partition(b".")[2]),
        ("not base64url", lambda: token().replace(b".", b"=.", 1)),
        ("not base64url", "é.é.é".encode),
        ("spare bits", lambda: token()[:-1] + b"_"),
        ("bytes are more than", lambda: b"e" * (MAX_JWT_BYTES + 1)),
        ("header or the signature is too long", lambda: b"e" * 9000 + b".e.e"),
    ],
)  # fmt: skip
def test_a_token_with_a_flaw_is_refused_though_its_signature_may_be_right(told: str, data: Callable[[], bytes]) -> None:
    with pytest.raises(JwtError, match=told):
        check(data())


def test_the_key_that_a_header_shows_is_compared_and_never_believed() -> None:
    shown = jwk_of(jwt_signer("ES256").public_key_multibase)
    assert check(token({"alg": "ES256", "jwk": shown})) == CREDENTIAL
    assert check(token(header(jwk=shown))) == CREDENTIAL
    own = {"alg": "RS256", "jwk": jwk_of(jwt_signer("RS256").public_key_multibase)}
    with pytest.raises(JwtError, match="not in the issuer's assertionMethod"):
        check(token(own, sign=jwt_signer("RS256").sign))
    with pytest.raises(JwtError, match=r"not the one that did\.json gives"):
        check(token(own | {"kid": f"{DID}#jwt-1"}, sign=jwt_signer("RS256").sign))
    with pytest.raises(JwtError, match="not in the issuer's assertionMethod"):
        check(token({"alg": "ES256", "jwk": shown | {"d": "AQ"}}))


def test_what_cannot_be_a_jwt_is_not_signed() -> None:
    with pytest.raises(BuildError, match="is a key of Ed25519"):
        sign_jwt(CREDENTIAL, SIGNER)
    with pytest.raises(BuildError, match="members called exp"):
        sign_jwt(CREDENTIAL | {"exp": 1}, jwt_signer("ES256"))
    with pytest.raises(BuildError, match="nothing for the claim jti"):
        sign_jwt({k: v for k, v in CREDENTIAL.items() if k != "id"}, jwt_signer("ES256"))
    with pytest.raises(BuildError, match="fraction of a second"):
        sign_jwt(CREDENTIAL | {"validUntil": "2099-01-01T00:00:00.25Z"}, jwt_signer("ES256"))


def test_only_what_may_be_a_jwt_is_taken_for_one() -> None:
    data = token()
    assert looks_like_jwt(b"\n " + data + b"\r\n")
    for other in (b"", json.dumps(CREDENTIAL).encode(), b"eyJ.e", data[1:], data + b".", b"<svg>" + data):
        assert not looks_like_jwt(other)


def test_base64url_has_one_text_for_one_value() -> None:
    for data in (b"", b"\0", b"ab", b"abc", bytes(range(256))):
        assert decode(encode(data)) == data
    for text in ("A", "AB", "AA==", "A A", "AA\n", "A+", "A/", "AAAAA"):
        with pytest.raises(Base64urlError):
            decode(text)

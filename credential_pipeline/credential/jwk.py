"""Public keys of JWTs as JSON Web Keys (RFC 7517; RFC 7518 6.2 and 6.3), and checking a signature with one.

Belongs here: JWK from and to the text of a key, strict reading of a stranger's JWK. Does not belong here: private keys
(a JWK that holds a private member is refused), and what is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicNumbers as PointNumbers
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from credential_pipeline.credential.base64url import Base64urlError, decode, encode
from credential_pipeline.credential.multikey import (
    MultibaseError,
    algorithm_of,
    decode_p256_public,
    decode_rsa_public,
    encode_p256_public,
    encode_rsa_public,
)

RSA_BITS = range(2048, 8193)
"""RFC 7518 3.3 asks for 2,048 or more; above 8,192 a stranger's key makes us work."""

_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_PUBLIC_OF = {"ES256": {"kty", "crv", "x", "y"}, "RS256": {"kty", "n", "e"}}
_DESCRIPTION = {"alg", "use", "key_ops", "kid"}
_RSA_DER = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier of rsaEncryption (RFC 8017 A.1)

JwtPublicKey = EllipticCurvePublicKey | RSAPublicKey


class JwkError(ValueError):
    """Not a public key that a JWT of ours may be signed with; the text says why."""


def jwk_of(public_key_multibase: str) -> dict[str, str]:
    """The JWK, with its `alg`, of a P-256 or RSA key; raises MultibaseError for any other."""
    key = public_key_of(public_key_multibase)
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return {"kty": "RSA", "n": encode(_octets(rsa.n)), "e": encode(_octets(rsa.e)), "alg": "RS256"}
    point = key.public_numbers()
    x, y = (encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256"}


def public_key_of(public_key_multibase: str) -> JwtPublicKey:
    """The key behind the text of a P-256 or RSA key; raises MultibaseError."""
    algorithm = algorithm_of(public_key_multibase)
    try:
        if algorithm == "ES256":
            return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), decode_p256_public(public_key_multibase))
        if algorithm == "RS256":
            return _rsa_of_der(decode_rsa_public(public_key_multibase))
    except ValueError as cause:
        raise MultibaseError(f"not a public key of {algorithm}: {cause}") from cause
    raise MultibaseError("an Ed25519 key signs no JWT of ours: 1EdTech refuses EdDSA")


def multibase_of(key: JwtPublicKey) -> str:
    """The text of a P-256 or RSA key."""
    if isinstance(key, RSAPublicKey):
        return encode_rsa_public(key.public_bytes(Encoding.DER, PublicFormat.PKCS1))
    return encode_p256_public(key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def read_jwk(jwk: Mapping[str, Any], algorithm: str) -> JwtPublicKey:
    """The key in a stranger's JWK, for `algorithm` (ES256 or RS256) and no other.

    Raises:
        JwkError: a private or unknown member, another kind of key, a second spelling, a point off the curve, RSA of
            less than 2,048 bits.
    """
    if private := sorted(_PRIVATE & set(jwk)):
        raise JwkError(f"the JWK holds private members ({', '.join(private)}): its owner has given the key away")
    needed = _PUBLIC_OF.get(algorithm)
    if needed is None or set(jwk) - _DESCRIPTION != needed:
        raise JwkError(f"the JWK is not the public key of {algorithm} (RFC 7518 6.2, 6.3)")
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise JwkError(f"the JWK is not meant for {algorithm} signatures (RFC 7517 4.2, 4.4)")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise JwkError("the JWK is not meant for verifying (RFC 7517 4.3)")
    try:
        return _rsa(jwk) if algorithm == "RS256" else _point(jwk)
    except (Base64urlError, ValueError) as cause:
        raise JwkError(f"the JWK is no key of {algorithm}: {cause}") from cause


def check_signature(key: JwtPublicKey, signature: bytes, data: bytes) -> bool:
    """Whether a JWS signature (RFC 7518 3.3: RS256, 3.4: ES256) over `data` is one of this key's."""
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, data, PKCS1v15(), SHA256())
        else:
            if len(signature) != 64:  # RFC 7518 3.4: r and s in 32 bytes each, never DER
                return False
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), data, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _point(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey:
    if jwk["kty"] != "EC" or jwk["crv"] != "P-256":
        raise JwkError("kty and crv are not EC and P-256")
    x, y = _member(jwk, "x"), _member(jwk, "y")
    if len(x) != 32 or len(y) != 32:  # RFC 7518 6.2.1.2: the full size of a coordinate
        raise JwkError("x and y have 32 bytes each (RFC 7518 6.2.1.2)")
    return PointNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()


def _rsa(jwk: Mapping[str, Any]) -> RSAPublicKey:
    if jwk["kty"] != "RSA":
        raise JwkError("kty is not RSA")
    modulus, exponent = _member(jwk, "n"), _member(jwk, "e")
    if modulus[:1] in (b"", b"\0") or exponent[:1] in (b"", b"\0"):
        raise JwkError("n and e have no leading zero bytes (RFC 7518 2, Base64urlUInt)")
    if len(exponent) > 4:
        raise JwkError("e has more than 32 bits")
    return _long_enough(RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")))


def _long_enough(numbers: RSAPublicNumbers) -> RSAPublicKey:
    if numbers.n.bit_length() not in RSA_BITS:
        raise JwkError(f"RSA of {numbers.n.bit_length()} bits: at least {RSA_BITS[0]} are needed (RFC 7518 3.3)")
    return numbers.public_key()


def _rsa_of_der(der: bytes) -> RSAPublicKey:
    """From RSAPublicKey: wrapped as SubjectPublicKeyInfo, which is what the library reads."""
    bits = b"\0" + der
    key = load_der_public_key(_der(0x30, _RSA_DER + _der(0x03, bits)))
    if not isinstance(key, RSAPublicKey) or key.public_bytes(Encoding.DER, PublicFormat.PKCS1) != der:
        raise JwkError("not the DER of an RSAPublicKey (RFC 8017 A.1.1)")
    return _long_enough(key.public_numbers())


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = _octets(length)
    return bytes((tag, 0x80 | len(size))) + size + content


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _member(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk[name]
    if not isinstance(value, str) or len(value) > 2048:
        raise JwkError(f"{name} is not a text of base64url")
    return decode(value)

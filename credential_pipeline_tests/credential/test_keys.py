"""Keys as text and as encrypted files."""

from __future__ import annotations

from typing import Any

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, derive_private_key, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.base64url import decode, encode
from credential_pipeline.credential.jwk import JwkError, check_signature, jwk_of, public_key_of, read_jwk
from credential_pipeline.credential.keys import (
    Ed25519FileSigner,
    JwtFileSigner,
    KeyFormatError,
    Signer,
    WrongPassphrase,
    any_from_encrypted_pem,
    file_signer,
    from_encrypted_pem,
    generate,
    generate_ed25519,
    public_text,
    raw_ecdsa,
    to_encrypted_pem,
)
from credential_pipeline.credential.multikey import (
    MultibaseError,
    algorithm_of,
    decode_base58btc,
    decode_ed25519_public,
    encode_base58btc,
    encode_ed25519_public,
)
from credential_pipeline_tests.credential.forms import DID, KEY, PUBLIC, SIGNER
from credential_pipeline_tests.credential.jwt_keys import POINT, jwt_signer, rsa

PASSPHRASE = b"correct horse battery staple"


@settings(deadline=None, derandomize=True, database=None)
@given(zeros=st.integers(0, 5), rest=st.binary(max_size=64))
def test_base58btc_keeps_leading_zero_bytes(zeros: int, rest: bytes) -> None:
    data = bytes(zeros) + rest
    text = encode_base58btc(data)
    assert text.startswith("z" + "1" * zeros)
    assert decode_base58btc(text) == data


@pytest.mark.parametrize("raw", [bytes(32), b"\x00" * 31 + b"\x01", b"\xff" * 32, PUBLIC])
def test_multikey_round_trip(raw: bytes) -> None:
    text = encode_ed25519_public(raw)
    assert text.startswith("z6Mk")
    assert decode_ed25519_public(text) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "z",
        "6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd",
        encode_ed25519_public(PUBLIC) + " ",
        encode_ed25519_public(PUBLIC) + "\n",
        encode_ed25519_public(PUBLIC).replace("M", "0"),
        encode_ed25519_public(PUBLIC)[:-1],
        "z" + base58.b58encode(b"\xed\x01" + bytes(33)).decode(),
        "z" + base58.b58encode(b"\x80\x24" + bytes(33)).decode(),
        "z" + "2" * 5000,
    ],
)
def test_what_is_not_an_ed25519_multikey_is_refused(text: str) -> None:
    with pytest.raises(MultibaseError):
        decode_ed25519_public(text)


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(MultibaseError, match="32 bytes"):
        encode_ed25519_public(bytes(31))


def test_encrypted_pem_round_trip() -> None:
    key = generate_ed25519()
    pem = to_encrypted_pem(key, PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert from_encrypted_pem(pem, PASSPHRASE).private_bytes_raw() == key.private_bytes_raw()
    assert key.private_bytes_raw() not in pem


@pytest.mark.parametrize("wrong", [b"", b"wrong", PASSPHRASE + b"\n", PASSPHRASE.upper()])
def test_a_wrong_passphrase_is_told_without_quoting_it(wrong: bytes) -> None:
    pem = to_encrypted_pem(KEY, PASSPHRASE)
    with pytest.raises(WrongPassphrase, match="passphrase") as raised:
        from_encrypted_pem(pem, wrong)
    told = str(raised.value) + repr(raised.value.__cause__)
    assert not wrong or wrong.decode() not in told
    assert PASSPHRASE.decode() not in told


def test_other_files_are_refused() -> None:
    plain = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE)
    )
    for pem in (b"", b"\xff", plain, other):
        with pytest.raises(KeyFormatError):
            from_encrypted_pem(pem, PASSPHRASE)
    with pytest.raises(KeyFormatError, match="without a passphrase"):
        to_encrypted_pem(KEY, b"")


def test_a_damaged_file_never_opens() -> None:
    pem = to_encrypted_pem(KEY, PASSPHRASE)
    for damaged in (pem[:-60], pem.replace(b"\n", b"\n#", 3), pem.replace(b"M", b"N", 1)):
        with pytest.raises((KeyFormatError, WrongPassphrase)):
            from_encrypted_pem(damaged, PASSPHRASE)


def test_the_signer_signs_and_shows_nothing_secret() -> None:
    signer: Signer = SIGNER
    KEY.public_key().verify(signer.sign(b"data"), b"data")
    assert signer.verification_method == f"{DID}#key-1"
    assert repr(SIGNER) == f"Ed25519FileSigner('{DID}#key-1', '{SIGNER.public_key_multibase}')"
    for method in (DID, "https://badges.example.org#key-1", f"{DID}#"):
        with pytest.raises(KeyFormatError):
            Ed25519FileSigner(KEY, method)


@pytest.mark.parametrize("key", [KEY, POINT, rsa()], ids=["Ed25519", "ES256", "RS256"])
def test_a_key_of_each_kind_is_kept_encrypted_and_signs_again(key: Any) -> None:
    pem = to_encrypted_pem(key, PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    opened = any_from_encrypted_pem(pem, PASSPHRASE)
    assert public_text(opened) == public_text(key)
    signer = file_signer(opened, f"{DID}#x-1")
    signature = signer.sign(b"data")
    if algorithm_of(signer.public_key_multibase) == "Ed25519":
        KEY.public_key().verify(signature, b"data")
    else:
        public = public_key_of(signer.public_key_multibase)
        assert check_signature(public, signature, b"data")
        assert not check_signature(public, signature, b"other")
        assert jwk_of(signer.public_key_multibase).items() >= {"alg": algorithm_of(signer.public_key_multibase)}.items()
    with pytest.raises(WrongPassphrase):
        any_from_encrypted_pem(pem, b"wrong")


def test_generated_keys_are_as_strong_as_told() -> None:
    assert isinstance(file_signer(generate("Ed25519"), f"{DID}#key-1"), Ed25519FileSigner)
    assert isinstance(file_signer(generate("ES256"), f"{DID}#jwt-1"), JwtFileSigner)
    made = file_signer(generate("RS256"), f"{DID}#jwt-1")
    public = public_key_of(made.public_key_multibase)
    assert public.key_size == 3072
    assert repr(made) == f"JwtFileSigner('{DID}#jwt-1', '{made.public_key_multibase}')"


def test_weak_keys_and_other_curves_sign_nothing() -> None:
    with pytest.raises(KeyFormatError, match="1024 bits"):
        JwtFileSigner(generate_rsa(65537, 1024), f"{DID}#jwt-1")
    with pytest.raises(KeyFormatError, match="secp256k1"):
        JwtFileSigner(generate_private_key(SECP256K1()), f"{DID}#jwt-1")


def test_the_text_of_a_p256_key_begins_as_the_standard_says() -> None:
    """Controlled Identifiers 1.0, 2.2.2: a P-256 Multikey begins with zDn, whichever of two points it is."""
    texts = [public_text(derive_private_key(n, SECP256R1())) for n in range(1, 20)]
    assert {text[:3] for text in texts} == {"zDn"}
    for text in texts:
        assert read_jwk(jwk_of(text), "ES256") == public_key_of(text)
    with pytest.raises(MultibaseError):
        public_key_of(encode_base58btc(b"\x80\x24\x02" + b"\xff" * 32))  # x is not below the field's prime


def test_rsa_texts_have_one_spelling() -> None:
    text = jwt_signer("RS256").public_key_multibase
    der = decode_base58btc(text)[2:]
    for changed in (der + b"\0", der[:-1], b"\x30\x80" + der[4:], b""):
        with pytest.raises(MultibaseError):
            public_key_of(encode_base58btc(b"\x85\x24" + changed))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"d": "AQ"}, "private members"),
        ({"crv": "P-384"}, "not EC and P-256"),
        ({"kty": "RSA"}, "not EC and P-256"),
        ({"x": "AQ"}, "32 bytes"),
        ({"x": 1}, "not a text"),
        ({"y": encode_base58btc(bytes(32))}, "no key of ES256"),
        ({"x": jwk_of(public_text(POINT))["y"]}, "no key of ES256"),
        ({"alg": "RS256"}, "not meant for ES256"),
        ({"use": "enc"}, "not meant for ES256"),
        ({"key_ops": ["sign"]}, "not meant for verifying"),
        ({"x5u": "https://attacker.example"}, "not the public key of ES256"),
    ],
)
def test_a_strangers_jwk_is_read_strictly(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(JwkError, match=told):
        read_jwk(jwk_of(public_text(POINT)) | changes, "ES256")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n": encode(b"\0" + decode(jwk_of(public_text(rsa()))["n"]))}, "leading zero"),
        ({"n": encode(b"\xff" * 128)}, "1024 bits"),
        ({"n": encode(b"\xff" * 1025)}, "8200 bits"),
        ({"e": "AQAAAAE"}, "more than 32 bits"),
        ({"e": "AQ"}, "no key of RS256"),
    ],
)
def test_a_strangers_rsa_jwk_is_read_strictly(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(JwkError, match=told):
        read_jwk(jwk_of(public_text(rsa())) | changes, "RS256")


def test_ecdsa_signatures_are_two_numbers_of_32_bytes() -> None:
    assert raw_ecdsa(bytes.fromhex("3006020101020102")) == bytes(31) + b"\1" + bytes(31) + b"\2"
    for der in (b"", b"\x30\0", bytes.fromhex("3026") + b"\x02\x21\x01" + bytes(32) + b"\x02\x01\x01"):
        with pytest.raises(ValueError):  # noqa: PT011 - whichever the library raises
            raw_ecdsa(der)

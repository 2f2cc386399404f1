"""Keys as text and as encrypted files."""

from __future__ import annotations

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.keys import (
    Ed25519FileSigner,
    KeyFormatError,
    Signer,
    WrongPassphrase,
    from_encrypted_pem,
    generate_ed25519,
    to_encrypted_pem,
)
from credential_pipeline.credential.multikey import (
    MultibaseError,
    decode_base58btc,
    decode_ed25519_public,
    encode_base58btc,
    encode_ed25519_public,
)
from credential_pipeline_tests.credential.forms import DID, KEY, PUBLIC, SIGNER

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

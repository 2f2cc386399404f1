"""Signatures as text, and whether they match: the same as the reference says, faster."""

from __future__ import annotations

import pytest

from credential_pipeline.credential.ed25519_check import matches
from credential_pipeline.credential.multikey import MultibaseError, encode_base58btc
from credential_pipeline.credential.proof_value import decode_proof_value, encode_proof_value
from credential_pipeline_tests.credential.forms import PUBLIC, SIGNER


def test_proof_values_are_those_of_the_reference() -> None:
    for n in range(300):
        data = bytes(n % 4) + bytes((n * 7 + k * 13) % 256 for k in range(64 - n % 4))
        text = encode_base58btc(data)
        assert encode_proof_value(data) == text.encode()
        assert decode_proof_value(text) == data
    for data in (bytes(64), b"\xff" * 64):
        assert decode_proof_value(encode_proof_value(data).decode()) == data
        assert encode_proof_value(data).decode() == encode_base58btc(data)


NO_PROOF_VALUES = (
    "",
    "z",
    "u" + "2" * 87,
    "z" + "2" * 87 + "0",
    "z" + "z" * 88,
    "z" + "2" * 87 + "\u0660",
    "z" + "2" * 87 + " ",
)


@pytest.mark.parametrize("text", NO_PROOF_VALUES)
def test_proof_values_that_are_none(text: str) -> None:
    with pytest.raises(MultibaseError):
        decode_proof_value(text)


def test_a_signature_matches_its_data_and_key_alone() -> None:
    data = bytes(range(64))
    signature = SIGNER.sign(data)
    assert matches(signature, data, PUBLIC)
    others = [(signature[:63], data, PUBLIC), (signature, data[:63], PUBLIC), (signature, data, PUBLIC[:31])]
    others += [(signature[:n] + bytes([signature[n] ^ 1]) + signature[n + 1 :], data, PUBLIC) for n in range(64)]
    # A key of small order matches anything somewhere: S 0, R the neutral element.
    others.append(((1).to_bytes(32, "little") + bytes(32), data, (1).to_bytes(32, "little")))
    assert not any(matches(*other) for other in others)

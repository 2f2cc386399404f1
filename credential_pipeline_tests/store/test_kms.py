"""Keys in a KMS, over real HTTP: signatures, pace, outages, refusals."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.jwk import jwk_of
from credential_pipeline.credential.jwt import read_jwt, sign_jwt, verify_jwt
from credential_pipeline.credential.multikey import algorithm_of, decode_ed25519_public
from credential_pipeline.credential.proof import sign, verify_proof
from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.institution import KmsOptions
from credential_pipeline.store.kms import PROBE, Kms, KmsSigner
from credential_pipeline.store.pace import Pace
from credential_pipeline_tests.credential.forms import AS_OF, DID, FORMS
from credential_pipeline_tests.kms_server import ENVIRONMENT, Key, KmsStandIn, serving

CREDENTIAL = open_badge_credential(FORMS["least"])


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS credentials of nobody, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server(credentials: None) -> Iterator[KmsStandIn]:
    with serving(KmsStandIn()) as stand_in:
        yield stand_in


def kms(server: KmsStandIn, *, rate: int = 100_000, in_flight: int = 8) -> Kms:
    options = KmsOptions(requests_per_second=rate, calls_in_flight=in_flight, endpoint_url=server.url)
    return Kms(options, pace=Pace(rate, random=random.Random(1)))


def signer(server: KmsStandIn, key: Key, **how: int) -> KmsSigner:
    asked = kms(server, **how)
    return asked.signer(key.arn, f"{DID}#key-1", asked.public_key(key.arn))


def test_a_document_signed_by_kms_is_verified_like_any_other(server: KmsStandIn) -> None:
    by_kms = signer(server, server.create())
    signed = sign(CREDENTIAL, by_kms, AS_OF)
    for proof in signed["proof"]:
        verify_proof(signed, proof, decode_ed25519_public(by_kms.public_key_multibase))
    assert len(server.signed) == 1 + 2  # the probe, and two proofs: two calls of the quota


@pytest.mark.parametrize(("spec", "algorithm"), [("ECC_NIST_P256", "ES256"), ("RSA_2048", "RS256")])
def test_a_jwt_signed_by_kms_is_verified_like_any_other(server: KmsStandIn, spec: str, algorithm: str) -> None:
    by_kms = signer(server, server.create(spec))
    assert algorithm_of(by_kms.public_key_multibase) == algorithm
    long = CREDENTIAL | {"description": "x" * 10_000}  # longer than Sign takes: its digest is sent
    read = read_jwt(sign_jwt(long, by_kms).encode())
    verify_jwt(read, jwk_of(by_kms.public_key_multibase))
    assert read.algorithm == algorithm


def test_no_ed25519_message_is_longer_than_kms_takes(server: KmsStandIn) -> None:
    with pytest.raises(Terminal, match="at most 4096"):
        signer(server, server.create()).sign(bytes(4097))


def test_several_calls_are_under_way_and_no_more_than_told(server: KmsStandIn) -> None:
    server.latency = 0.05
    by_kms = signer(server, server.create(), in_flight=8)
    data = [bytes([n]) * 64 for n in range(48)]
    signatures = by_kms.sign_many(data)
    private: Ed25519PrivateKey = server.keys[by_kms.key].private
    assert signatures == [private.sign(one) for one in data]
    assert 4 <= server.most_at_once <= 8
    assert by_kms.sign_many([]) == []


def test_throttling_and_failures_lose_nothing(server: KmsStandIn) -> None:
    """Far more than the quota is asked for, and one call in ten fails or loses its answer: all come, in order."""
    key = server.create()
    by_kms = signer(server, key)
    server.quota, server.failing = 150, 0.1
    data = [n.to_bytes(64, "big") for n in range(240)]
    signatures = by_kms.sign_many(data)
    for one, signature in zip(data, signatures, strict=True):
        key.private.public_key().verify(signature, one)
    assert server.throttled > 0
    assert server.failed > 10


def test_the_rate_is_the_one_that_is_set(server: KmsStandIn) -> None:
    by_kms = signer(server, server.create(), rate=200)
    server.quota = 240
    by_kms.sign_many([n.to_bytes(64, "big") for n in range(260)])
    assert server.throttled == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda key: setattr(key, "state", "Disabled"), "DisabledException; the key is disabled: enable it"),
        (lambda key: setattr(key, "state", "PendingDeletion"), "KMSInvalidStateException; the key is not enabled"),
        (lambda key: setattr(key, "denied", True), "AccessDeniedException; let this account call"),
        (lambda key: setattr(key, "usage", "KEY_AGREEMENT"), "InvalidKeyUsageException"),
        (lambda key: setattr(key, "private", Ed25519PrivateKey.generate()), "Was its key material replaced"),
    ],
)
def test_a_key_that_may_not_be_used_is_told_and_not_tried_again(
    server: KmsStandIn, change: Callable[[Key], None], told: str
) -> None:
    key = server.create()
    by_kms = signer(server, key)
    change(key)
    calls = server.calls
    with pytest.raises(Terminal, match=told) as error:
        by_kms.sign(b"data")
    assert server.calls == calls + 1
    assert key.arn in str(error.value)
    with pytest.raises(Terminal, match=told):
        by_kms.sign_many([b"a", b"b"])


@pytest.mark.parametrize(
    ("spec", "usage", "told"),
    [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "UnsupportedOperationException"),
        ("ECC_NIST_P256", "KEY_AGREEMENT", "ECC_NIST_P256 for KEY_AGREEMENT"),
    ],
)
def test_a_key_of_another_kind_is_told(server: KmsStandIn, spec: str, usage: str, told: str) -> None:
    with pytest.raises(Terminal, match=told):
        kms(server).public_key(server.create(spec, usage).arn)


@pytest.mark.parametrize("key", ["alias/issuer", "arn:aws:kms:eu-west-1:111122223333:alias/issuer", "key/1", ""])
def test_a_key_is_named_by_its_arn(server: KmsStandIn, key: str) -> None:
    with pytest.raises(Terminal, match="is not the ARN of a KMS key"):
        kms(server).public_key(key)
    with pytest.raises(Terminal, match="NotFoundException; there is no such key"):
        kms(server).public_key("arn:aws:kms:eu-west-1:111122223333:key/none")


def test_a_server_that_is_not_there_is_an_outage(server: KmsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    key = server.create()
    with serving(KmsStandIn()) as gone:
        url = gone.url
    asked = Kms(KmsOptions(endpoint_url=url), pace=Pace(1000, sleep=lambda _: None))
    with pytest.raises(Transient, match="is out of reach: EndpointConnectionError; tried 7 times"):
        asked.public_key(key.arn)


def test_missing_credentials_are_told(server: KmsStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Terminal, match="Unable to locate credentials"):
        kms(server).public_key(server.create().arn)


def test_nothing_secret_is_logged(server: KmsStandIn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        by_kms = signer(server, server.create())
        by_kms.sign(b"the message")
    told = caplog.text + repr(by_kms) + repr(by_kms.__dict__)
    for secret in (ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] + "'", "the message", PROBE.decode()):
        assert secret not in told

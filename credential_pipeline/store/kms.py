"""Keys in AWS KMS: the private half never comes into this process; each signature is a call over the network.

Belongs here: what a KMS key is, signing with it at the pace of its quota, and telling an outage from a refusal. Does
not belong here: which key signs when (signing.py), and how a call is paced (pace.py).

A proof is a call: a credential with two costs two of the quota, which a region shares among all keys of an account
(elliptic curves: 300 a second where nobody asked for more). Only `kms:GetPublicKey` and `kms:Sign` are needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from credential_pipeline.credential.jwk import check_signature, multibase_of, public_key_of
from credential_pipeline.credential.keys import checked_method, raw_ecdsa
from credential_pipeline.credential.multikey import (
    Algorithm,
    algorithm_of,
    decode_ed25519_public,
    encode_ed25519_public,
)
from credential_pipeline.errors import PipelineError, Terminal
from credential_pipeline.institution import KmsOptions
from credential_pipeline.store.pace import Again, Pace, TooFast

KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+\Z")

MAX_RAW_BYTES = 4096
"""What Sign takes as MessageType RAW; a proof signs 64 bytes, and a JWT is sent as its digest."""

PROBE = b"credential_pipeline: may this key sign?"


@dataclass(frozen=True)
class _Spec:
    """How KMS calls an algorithm of ours; `raw`: it hashes itself (Ed25519 cannot be given a digest)."""

    algorithm: Algorithm
    signing_algorithm: str
    raw: bool = False


SPECS = {
    "ECC_NIST_EDWARDS25519": _Spec("Ed25519", "ED25519_SHA_512", raw=True),
    "ECC_NIST_P256": _Spec("ES256", "ECDSA_SHA_256"),
    "RSA_2048": _Spec("RS256", "RSASSA_PKCS1_V1_5_SHA_256"),
    "RSA_3072": _Spec("RS256", "RSASSA_PKCS1_V1_5_SHA_256"),
    "RSA_4096": _Spec("RS256", "RSASSA_PKCS1_V1_5_SHA_256"),
}
"""Key specs that sign here. ED25519_PH_SHA_512 is not among them: nobody verifies it."""

_BY_ALGORITHM = {spec.algorithm: spec for spec in SPECS.values()}

THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
OUTAGES = {
    "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException", "InternalFailure",
    "InternalError", "ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException",
}  # fmt: skip
"""KMS says of these that the request may be sent again."""

REMEDIES = {
    "AccessDeniedException": "let this account call kms:GetPublicKey and kms:Sign on the key",
    "DisabledException": "the key is disabled: enable it, or make the next one with `key rotate`",
    "KMSInvalidStateException": "the key is not enabled, or is to be deleted: cancel that, or `key rotate`",
    "NotFoundException": "there is no such key: check its ARN, region and account",
    "InvalidArnException": "check the ARN",
    "InvalidKeyUsageException": "a key of usage SIGN_VERIFY is needed",
    "UnsupportedOperationException": "an asymmetric key of usage SIGN_VERIFY is needed",
    "ExpiredTokenException": "the AWS credentials have expired: renew them",
    "UnrecognizedClientException": "the AWS credentials are not valid",
}


class Kms:
    """An institution's way to KMS; nothing is imported or opened before the first call. Threads may share it."""

    def __init__(self, options: KmsOptions | None = None, *, pace: Pace | None = None) -> None:
        self.options = options or KmsOptions()
        self._pace = pace or Pace(self.options.requests_per_second)
        self._clients: dict[str, Any] = {}

    def signer(self, key: str, verification_method: str, public_key_multibase: str) -> KmsSigner:
        """The signer of a key whose public half is known; asks nothing yet."""
        return KmsSigner(self, key, verification_method, public_key_multibase)

    def public_key(self, key: str) -> str:
        """The public half of a key as text, after a signature of it was checked.

        Raises:
            Terminal: it is no ARN of a key (an alias can be pointed elsewhere), no key for signing, or may not be used.
            Transient: KMS does not answer.
        """
        answer = self.call("get_public_key", key, KeyId=key)
        spec = SPECS.get(answer["KeySpec"])
        if answer["KeyUsage"] != "SIGN_VERIFY" or spec is None:
            raise Terminal(
                f"the KMS key {key} is {answer['KeySpec']} for {answer['KeyUsage']}; one of {', '.join(SPECS)} for "
                "SIGN_VERIFY is needed"
            )
        text = _text_of(key, answer["PublicKey"])
        self.signer(key, "did:web:probe.invalid#probe", text).sign(PROBE)
        return text

    def call(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        """One answer of KMS; waits for its turn, and asks again after throttling and outages."""
        client = self._client(key)
        answer: dict[str, Any] = self._pace.call(lambda: _asked(client, operation, key, parameters))
        return answer

    def _client(self, key: str) -> Any:
        arn = KEY_ARN.match(key)
        if arn is None:
            raise Terminal(f"{key[:200]!r} is not the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID is needed")
        region = arn["region"]
        if region not in self._clients:
            self._clients[region] = _open(region, self.options)
        return self._clients[region]


class KmsSigner:
    """Signs with a key in KMS. Every answer is checked against the public half before anybody sees it."""

    def __init__(self, kms: Kms, key: str, verification_method: str, public_key_multibase: str) -> None:
        self.key = key
        self.verification_method = checked_method(verification_method)
        self.public_key_multibase = public_key_multibase
        self._kms = kms

    def __repr__(self) -> str:
        return f"KmsSigner({self.key!r}, {self.verification_method!r})"

    @cached_property
    def _spec(self) -> _Spec:
        return _BY_ALGORITHM[algorithm_of(self.public_key_multibase)]

    @cached_property
    def _verifies(self) -> Callable[[bytes, bytes], bool]:
        """Whether (signature, data) is of this key."""
        if self._spec.algorithm != "Ed25519":
            key = public_key_of(self.public_key_multibase)
            return lambda signature, data: check_signature(key, signature, data)
        edwards = Ed25519PublicKey.from_public_bytes(decode_ed25519_public(self.public_key_multibase))

        def verifies(signature: bytes, data: bytes) -> bool:
            try:
                edwards.verify(signature, data)
            except InvalidSignature:
                return False
            return True

        return verifies

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`, as `keys.Signer` has it.

        Raises:
            Terminal: the key may not be used, or what came back is not its signature.
            Transient: KMS is out of reach, or throttles all that it is asked.
        """
        spec = self._spec
        if spec.raw and len(data) > MAX_RAW_BYTES:
            raise Terminal(f"{len(data)} bytes cannot be signed by KMS: at most {MAX_RAW_BYTES}")
        answer = self._kms.call(
            "sign",
            self.key,
            KeyId=self.key,
            Message=data if spec.raw else hashlib.sha256(data).digest(),
            MessageType="RAW" if spec.raw else "DIGEST",
            SigningAlgorithm=spec.signing_algorithm,
        )
        signature: bytes = answer["Signature"]
        try:
            signature = raw_ecdsa(signature) if spec.algorithm == "ES256" else signature
            right = self._verifies(signature, data)
        except ValueError:
            right = False
        if not right:
            raise Terminal(
                f"KMS answered with something that is no signature of {self.key} by the public key known of it; "
                "nothing was recorded. Was its key material replaced?"
            )
        return signature

    def sign_many(self, data: Sequence[bytes]) -> list[bytes]:
        """The signature of each, in order, with several calls under way; the first that fails stops the rest.

        Raises what `sign` raises. Signatures made before that are dropped: nobody has seen them.
        """
        pool = ThreadPoolExecutor(self._kms.options.calls_in_flight, "kms")
        try:
            futures: list[Future[bytes]] = [pool.submit(self.sign, one) for one in data]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _open(region: str, options: KmsOptions) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=15,
        max_pool_connections=options.calls_in_flight,
        # Trying again is the pace's: the client's own attempts would not count against the rate.
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.session.Session().client("kms", region_name=region, config=config, endpoint_url=options.endpoint_url)


def _asked(client: Any, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    try:
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
    except ClientError as error:
        raise _refusal(operation, key, error.response) from error
    except (NoConnection, HTTPClientError) as error:
        raise Again(f"KMS ({key}) is out of reach: {type(error).__name__}") from error
    except BotoCoreError as error:
        # No credentials, no region, a profile that is not there: the text names files and variables, never values.
        raise Terminal(f"KMS cannot be asked about {key}: {error}") from error
    if answer.get("KeyId", key) != key:
        raise Terminal(f"KMS was asked about {key} and answered about {answer['KeyId']}")
    return answer


def _refusal(operation: str, key: str, response: dict[str, Any]) -> PipelineError:
    code = str(response.get("Error", {}).get("Code", "an unknown error"))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in THROTTLED:
        return TooFast(f"KMS throttles the calls of this account ({code})")
    if code in OUTAGES or status >= 500:
        return Again(f"KMS ({key}) could not answer: {code}")
    remedy = REMEDIES.get(code, "see the documentation of AWS KMS")
    return Terminal(f"KMS refuses {operation} with {key}: {code}; {remedy}")


def _text_of(key: str, der: bytes) -> str:
    try:
        public = load_der_public_key(der)
    except ValueError as error:
        raise Terminal(f"KMS gave a public key of {key} that cannot be read") from error
    if isinstance(public, Ed25519PublicKey):
        return encode_ed25519_public(public.public_bytes_raw())
    if isinstance(public, RSAPublicKey) or (
        isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
    ):
        return multibase_of(public)
    raise Terminal(f"KMS gave a public key of {key} of a kind that does not sign here")

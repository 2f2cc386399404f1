"""A stand-in for AWS KMS over real HTTP: AWS JSON 1.1, `X-Amz-Target: TrentService.*`, keys that never leave it.

Built from what AWS documents of Sign, GetPublicKey, DescribeKey and CreateKey: message types by key spec, sizes, key
states, the quota of a region and its ThrottlingException, error names and statuses. What it cannot show is that AWS
behaves as documented. It checks that requests are signed (SigV4), not the signature.

Started with `python -m credential_pipeline_tests.kms_server` it is a process of its own, which tells its URL on the
first line of stdout and ends when stdin is closed; `GET /signed` gives the SHA-256 of every message it signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_point
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

REGION = "eu-west-1"
ACCOUNT = "111122223333"
SIGNING_ALGORITHMS = {
    "ECC_NIST_EDWARDS25519": ["ED25519_SHA_512", "ED25519_PH_SHA_512"],
    "ECC_NIST_P256": ["ECDSA_SHA_256"],
    "RSA_2048": ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_256"],
}
RATE_EXCEEDED = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_EC2_METADATA_DISABLED": "1"}
"""What a client of the stand-in needs: any credentials."""


class Refusal(Exception):
    """An error as KMS tells it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class Key:
    """A KMS key; `private` is used by nobody but the server."""

    arn: str
    spec: str
    usage: str
    private: Any = field(repr=False)
    state: str = "Enabled"
    denied: bool = False


def _private(spec: str) -> Any:
    if spec == "ECC_NIST_EDWARDS25519":
        return Ed25519PrivateKey.generate()
    if spec == "ECC_NIST_P256":
        return generate_point(SECP256R1())
    return generate_rsa(65537, 2048) if spec == "RSA_2048" else None


class KmsStandIn:
    """The keys, the quota and the faults of one region.

    Attributes:
        quota: cryptographic operations a second; more are throttled.
        latency: seconds an answer takes.
        failing: share of calls that get a KMSInternalException or lose their answer (seeded).
        signed: the SHA-256 of every message signed, also where the answer was lost.
        throttled: how many calls were refused for their rate.
        most_at_once: how many calls were under way at the same time, at most.
    """

    def __init__(self, *, quota: int = 10_000, latency: float = 0.0, failing: float = 0.0, seed: int = 1) -> None:
        self.quota, self.latency, self.failing = quota, latency, failing
        self.keys: dict[str, Key] = {}
        self.signed: list[str] = []
        self.throttled = self.failed = self.calls = self.most_at_once = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._recent: deque[float] = deque()
        self._at_once = 0
        self.url = ""

    def create(self, spec: str = "ECC_NIST_EDWARDS25519", usage: str = "SIGN_VERIFY") -> Key:
        """A new key, as CreateKey makes it."""
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{uuid.uuid4()}"
        self.keys[arn] = Key(arn, spec, usage, _private(spec))
        return self.keys[arn]

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """What an operation returns; raises Refusal."""
        with self._lock:
            self.calls += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            fault = self._random.random() < self.failing
            lost = fault and self._random.random() < 0.5
        try:
            time.sleep(self.latency)
            if operation == "CreateKey":
                key = self.create(request.get("KeySpec", "SYMMETRIC_DEFAULT"), request.get("KeyUsage", "SIGN_VERIFY"))
                return {"KeyMetadata": self._metadata(key)}
            key = self._key(request)
            if operation == "DescribeKey":
                return {"KeyMetadata": self._metadata(key)}
            if key.state == "Disabled":
                raise Refusal("DisabledException", f"{key.arn} is disabled.")
            if key.state != "Enabled":
                raise Refusal("KMSInvalidStateException", f"{key.arn} is pending deletion.")
            if operation == "GetPublicKey":
                return self._public(key)
            if operation != "Sign":
                raise Refusal("UnknownOperationException", operation)
            return self._sign(key, request, fault, lost)
        finally:
            with self._lock:
                self._at_once -= 1

    def _key(self, request: dict[str, Any]) -> Key:
        key = self.keys.get(request.get("KeyId", ""))
        if key is None:
            raise Refusal("NotFoundException", f"Key '{request.get('KeyId')}' does not exist")
        if key.denied:
            raise Refusal("AccessDeniedException", "User is not authorized to perform this on this resource")
        return key

    def _metadata(self, key: Key) -> dict[str, Any]:
        return {"Arn": key.arn, "KeySpec": key.spec, "KeyUsage": key.usage, "KeyState": key.state}

    def _public(self, key: Key) -> dict[str, Any]:
        if key.private is None:
            raise Refusal("UnsupportedOperationException", f"{key.arn} is symmetric.")
        der = key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {
            "KeyId": key.arn, "PublicKey": base64.b64encode(der).decode(), "KeySpec": key.spec, "KeyUsage": key.usage,
            "CustomerMasterKeySpec": key.spec, "SigningAlgorithms": SIGNING_ALGORITHMS[key.spec],
        }  # fmt: skip

    def _sign(self, key: Key, request: dict[str, Any], fault: bool, lost: bool) -> dict[str, Any]:
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.quota:
                self.throttled += 1
                raise Refusal("ThrottlingException", RATE_EXCEEDED)
            self._recent.append(now)
        if fault and not lost:
            self.failed += 1
            raise Refusal("KMSInternalException", "", 500)
        if key.usage != "SIGN_VERIFY" or request["SigningAlgorithm"] not in SIGNING_ALGORITHMS.get(key.spec, ()):
            raise Refusal("InvalidKeyUsageException", f"{key.arn} key usage is {key.usage}")
        message = base64.b64decode(request["Message"], validate=True)
        if not 1 <= len(message) <= 4096:
            raise Refusal("ValidationException", "Member must have length less than or equal to 4096")
        signature = signature_of(key.private, request["SigningAlgorithm"], request.get("MessageType", "RAW"), message)
        self.signed.append(hashlib.sha256(message).hexdigest())
        if lost:
            self.failed += 1
            raise ConnectionAbortedError
        return {
            "KeyId": key.arn, "Signature": base64.b64encode(signature).decode(),
            "SigningAlgorithm": request["SigningAlgorithm"],
        }  # fmt: skip


def signature_of(private: Any, algorithm: str, message_type: str, message: bytes) -> bytes:
    """What Sign gives; raises Refusal where the message type does not go with the algorithm."""
    if isinstance(private, Ed25519PrivateKey):
        if (algorithm, message_type) != ("ED25519_SHA_512", "RAW"):
            raise Refusal("ValidationException", f"{algorithm} cannot be used with MessageType {message_type}")
        return private.sign(message)
    if message_type == "DIGEST" and len(message) != 32:
        raise Refusal("ValidationException", f"Digest is invalid length for algorithm {algorithm}.")
    digest = message if message_type == "DIGEST" else hashlib.sha256(message).digest()
    if isinstance(private, EllipticCurvePrivateKey):
        return private.sign(digest, ECDSA(Prehashed(SHA256())))
    assert isinstance(private, RSAPrivateKey)
    return private.sign(digest, PKCS1v15(), Prehashed(SHA256()))


def _handler(kms: KmsStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers.get("X-Amz-Target", "")
            try:
                if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
                    raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
                if self.headers["Content-Type"] != "application/x-amz-json-1.1" or not target.startswith(
                    "TrentService."
                ):
                    raise Refusal("UnknownOperationException", target)
                self._reply(200, kms.answer(target.removeprefix("TrentService."), json.loads(body)))
            except Refusal as refusal:
                self._reply(refusal.status, {"__type": refusal.code, "message": refusal.message})
            except ConnectionAbortedError:
                self.close_connection = True  # signed, and the answer is lost on its way

        def do_GET(self) -> None:
            self._reply(200, {"signed": kms.signed, "throttled": kms.throttled, "failed": kms.failed})

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def serving(kms: KmsStandIn) -> Iterator[KmsStandIn]:
    """The stand-in, answering at `kms.url` in threads of this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(kms))
    server.daemon_threads = True
    kms.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield kms
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve until stdin is closed; options as JSON in the first argument."""
    with serving(KmsStandIn(**json.loads(sys.argv[1]))) as kms:
        print(kms.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

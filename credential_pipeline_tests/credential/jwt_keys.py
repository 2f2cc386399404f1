"""Keys that sign JWTs in tests: the same in every test, made once a process."""

from __future__ import annotations

from functools import cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from credential_pipeline.credential.keys import JwtFileSigner
from credential_pipeline_tests.credential.forms import DID

POINT = derive_private_key(7**80, SECP256R1())


@cache
def rsa() -> RSAPrivateKey:
    """The shortest that is allowed: a tenth of the time of 3,072 bits."""
    return generate_private_key(65537, 2048)


def jwt_signer(algorithm: Literal["ES256", "RS256"], number: int = 1) -> JwtFileSigner:
    return JwtFileSigner(POINT if algorithm == "ES256" else rsa(), f"{DID}#jwt-{number}")

"""Does an Ed25519 signature match? By libsodium where PyNaCl is: 59 us instead of OpenSSL's 110.

Belongs here: a yes, or a no that proof.py looks at again. libsodium takes nothing that OpenSSL refuses: both check
without cofactor and want a canonical S (RFC 8032 5.1.7), and libsodium refuses keys and points of small order besides.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def _by_openssl(signature: bytes, data: bytes, public_key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _faster() -> Callable[[bytes, bytes, bytes], bool]:
    try:
        from nacl.bindings import crypto_sign_open
        from nacl.exceptions import CryptoError
    except ImportError:
        return _by_openssl

    def by_libsodium(signature: bytes, data: bytes, public_key: bytes) -> bool:
        try:
            return len(signature) == 64 and crypto_sign_open(signature + data, public_key) == data
        except (CryptoError, ValueError):
            return False

    return by_libsodium


matches = _faster()
"""(signature of 64 bytes, data, raw public key of 32 bytes) -> whether it matches."""

"""base64url without padding (RFC 4648 5), one text for one value.

Belongs here: encoding and strict decoding. Does not belong here: what the bytes are.
"""

from __future__ import annotations

import base64
import re

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*\Z")


class Base64urlError(ValueError):
    """A text that is not the base64url encoding that `encode` gives."""


def encode(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes; raises Base64urlError for padding, white space, the other alphabet, and spare bits that are not zero.

    RFC 4648 3.5: with spare bits ignored, four texts would name one signature.
    """
    if not _ALPHABET.match(text) or len(text) % 4 == 1:
        raise Base64urlError("not base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data) != text:
        raise Base64urlError("the spare bits of the last character are not zero (RFC 4648 3.5)")
    return data

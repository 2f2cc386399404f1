"""What an image may carry, and how much of it is read: the same for PNG and SVG.

Belongs here: the caps, the error, and which bytes are a credential in the small: JSON or a compact JWS, as text.
Does not belong here: an image's format, and reading the JSON.
"""

from __future__ import annotations

import re

MAX_CREDENTIAL = 2 << 20
"""As much as the largest learner record that is read: verify.MAX_RECORD_BYTES."""
MAX_IMAGE = 4 << 20
"""Of the whole file; 4,000 x 4,000 pixels of a flat badge have a few hundred kB."""

_COMPACT_JWS = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\Z")


class ImageError(ValueError):
    """The image cannot carry, or does not carry, exactly one credential; the text says why and what to do."""


def is_compact_jws(data: bytes) -> bool:
    """Three parts of base64url with dots between (RFC 7515 7.1): what a VC-JWT looks like from outside."""
    return bool(_COMPACT_JWS.match(data))


def carried(credential: bytes) -> bytes:
    """`credential` without white space around it, if it is text that may be JSON or a compact JWS; raises ImageError.

    Costs 1 us for 3 kB: the JSON is not parsed here, who bakes has just signed it and who extracts will verify it.
    """
    data = credential.strip(b" \t\r\n")
    if len(data) > MAX_CREDENTIAL:
        raise ImageError(f"a credential of {len(data)} bytes: an image carries at most {MAX_CREDENTIAL}")
    if not (data[:1] == b"{" and data[-1:] == b"}") and not is_compact_jws(data):
        raise ImageError("what is to be carried is neither a JSON object nor a compact JWS (Open Badges 3.0, 5.3)")
    if b"\x00" in data:
        raise ImageError("the credential holds a NUL, which ends a text in PNG and which XML does not know")
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise ImageError(f"the credential is not UTF-8 at byte {cause.start} (Open Badges 3.0, 5)") from cause
    return data

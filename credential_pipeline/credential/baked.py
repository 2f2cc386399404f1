"""Baked badges: a credential carried by an image (Open Badges 3.0, 5.3).

Belongs here: which kind of file some bytes are, and baking and extracting for both kinds of image. Does not belong
here: the formats (baked_png.py, baked_svg.py), and whether the credential holds (verify.py).
"""

from __future__ import annotations

from typing import Literal, Protocol

from credential_pipeline.credential.baked_png import SIGNATURE, extract_png, png_carrier
from credential_pipeline.credential.baked_svg import extract_svg, svg_carrier
from credential_pipeline.credential.carried import ImageError, is_compact_jws

__all__ = ["Carrier", "ImageError", "Kind", "bake", "carrier", "extract", "kind_of", "unknown_kind"]

Kind = Literal["JSON", "JWT", "SVG", "PNG"]

_BOM = b"\xef\xbb\xbf"
_KNOWN_OTHERS = (
    (b"", "an empty file"),
    (b"%PDF-", "a PDF"),
    (b"\xff\xd8\xff", "a JPEG image, which cannot carry a credential"),
    (b"GIF8", "a GIF image, which cannot carry a credential"),
    (b"RIFF", "a WebP image or a sound"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file: unpack it"),
    (b"PK\x03\x04", "a zip file: unpack it"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
    (b"\x89PNG", "a damaged PNG"),
    (b"[", "a JSON array, where one credential is an object"),
)


class Carrier(Protocol):
    """An image made ready to carry: for many credentials in the same image, a few microseconds each."""

    def bake(self, credential: bytes) -> bytes:
        """The image with `credential` (UTF-8 JSON or a compact JWS), in place of one that it carried."""
        ...


def kind_of(data: bytes) -> Kind | None:
    """What the bytes look like from outside; None for anything that no credential comes as."""
    if data.startswith(SIGNATURE):
        return "PNG"
    head = data[:4096].removeprefix(_BOM).lstrip(b" \t\r\n")
    if head.startswith(b"{"):
        return "JSON"
    if head.startswith(b"<"):
        return "SVG"
    return "JWT" if is_compact_jws(data.strip(b" \t\r\n")) else None


def unknown_kind(data: bytes) -> str:
    """What such bytes are, in words, for a person who meant to name a credential."""
    for start, name in _KNOWN_OTHERS:
        if data.startswith(start) if start else not data:
            return name
    return f"a file that starts with {data[:12]!r}"


def carrier(image: bytes) -> Carrier:
    """`image` (SVG or PNG) made ready to carry; raises ImageError."""
    match kind_of(image):
        case "PNG":
            return png_carrier(image)
        case "SVG":
            return svg_carrier(image)
    raise ImageError(f"{unknown_kind(image)}: a credential is baked into SVG or PNG (Open Badges 3.0, 5.3)")


def bake(image: bytes, credential: bytes) -> bytes:
    """`image` (SVG or PNG) carrying `credential`, in place of one that it carried; all else stays byte for byte.

    `credential`: UTF-8 JSON with embedded proofs, or a compact JWS; white space around it is dropped.
    `extract` gives it back byte for byte. Raises ImageError.
    """
    return carrier(image).bake(credential)


def extract(image: bytes) -> bytes:
    """The one credential that `image` (SVG or PNG, hostile) carries: JSON or a compact JWS. Raises ImageError."""
    match kind_of(image):
        case "PNG":
            return extract_png(image)
        case "SVG":
            return extract_svg(image)
    raise ImageError(f"{unknown_kind(image)}: a credential is carried by SVG or PNG (Open Badges 3.0, 5.3)")

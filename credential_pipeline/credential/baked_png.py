"""A credential in a PNG image: one iTXt chunk `openbadgecredential` (Open Badges 3.0, 5.3.1; PNG third edition).

Belongs here: the chunks of a PNG, written and read. Does not belong here: pixels, and what the credential says.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from credential_pipeline.credential.carried import MAX_CREDENTIAL, MAX_IMAGE, ImageError, carried

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"openbadgecredential"

_HEAD = b"iTXt" + KEYWORD + b"\x00\x00\x00\x00\x00"
"""Chunk type, keyword and its end, no compression, method 0, no language tag, no translated keyword."""
_HEAD_CRC = zlib.crc32(_HEAD)
_TYPE = re.compile(rb"[A-Za-z]{4}")
_LEGACY = b"openbadges"


@dataclass(frozen=True, slots=True)
class PngCarrier:
    """A PNG cut open where a credential goes: right behind IHDR, so that a reader need not go on to the pixels."""

    before: bytes
    after: bytes

    def bake(self, credential: bytes) -> bytes:
        """The image with `credential` (UTF-8 JSON or a compact JWS); raises ImageError."""
        data = carried(credential)
        return b"".join(
            (
                self.before,
                (len(_HEAD) - 4 + len(data)).to_bytes(4, "big"),
                _HEAD,
                data,
                zlib.crc32(data, _HEAD_CRC).to_bytes(4, "big"),
                self.after,
            )
        )


def png_carrier(image: bytes) -> PngCarrier:
    """`image` without the credential it may carry, every other chunk byte for byte; raises ImageError."""
    kept: list[bytes] = []
    ends = len(SIGNATURE)
    for kind, data, start, end in _chunks(image):
        if not (kind == b"iTXt" and _keyword(data) == KEYWORD):
            kept.append(image[start:end])
        ends = end
    return PngCarrier(SIGNATURE + kept[0], b"".join((*kept[1:], image[ends:])))


def extract_png(image: bytes) -> bytes:
    """The credential that the image carries, as it was baked; raises ImageError."""
    texts: list[bytes] = []
    legacy = False
    for kind, data, _, _ in _chunks(image):
        if kind == b"iTXt" and _keyword(data) == KEYWORD:
            texts.append(data[len(KEYWORD) + 1 :])
        legacy |= kind in (b"iTXt", b"tEXt", b"zTXt") and _keyword(data) == _LEGACY
    if len(texts) > 1:
        raise ImageError(f"the PNG carries {len(texts)} credentials, and 5.3.1 allows one: which one is meant?")
    if not texts:
        more = "; it is an Open Badges 1 or 2 badge, which is not verified here" if legacy else ""
        raise ImageError(f"the PNG carries no credential: no iTXt chunk {KEYWORD.decode()}{more}")
    return _text(texts[0])


def _text(rest: bytes) -> bytes:
    """The text of an iTXt chunk, from what follows the keyword (PNG 11.3.3.4)."""
    if len(rest) < 4 or rest[0] > 1 or rest[1] != 0:
        raise ImageError("the iTXt chunk of the credential has an unknown compression (PNG 11.3.3.4)")
    _, first, behind = rest[2:].partition(b"\x00")
    _, second, text = behind.partition(b"\x00")
    if not first or not second:
        raise ImageError("the iTXt chunk of the credential is cut short (PNG 11.3.3.4)")
    if rest[0]:  # 5.3.1.1 forbids compression; readers differ in minding, so what is packed is read, up to the cap
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(text, MAX_CREDENTIAL + 1)
        except zlib.error as cause:
            raise ImageError(f"the compressed text of the credential is not zlib: {cause}") from cause
        if len(text) > MAX_CREDENTIAL:
            raise ImageError(f"the credential unpacks to more than {MAX_CREDENTIAL} bytes: refused")
        if not unpacker.eof or unpacker.unused_data:
            raise ImageError("the compressed text of the credential is cut short or followed by something else")
    return carried(text)


def _keyword(data: bytes) -> bytes:
    return data[:80].partition(b"\x00")[0]  # PNG 11.3.3.1: at most 79 bytes


def _chunks(image: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(type, data, start, end) of each chunk up to IEND; raises ImageError for anything that is not a whole PNG."""
    if len(image) > MAX_IMAGE:
        raise ImageError(f"an image of {len(image)} bytes: more than {MAX_IMAGE} are not read")
    if not image.startswith(SIGNATURE):
        raise ImageError("not a PNG: the signature is missing (PNG 5.2)")
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        start, length = position, int.from_bytes(image[position : position + 4], "big")
        position += 12 + length
        if position > len(image) or start + 12 > len(image):
            raise ImageError(f"the PNG is cut short: a chunk at byte {start} reaches beyond the end (PNG 5.3)")
        first, kind, data = not kind, image[start + 4 : start + 8], image[start + 8 : position - 4]
        if not _TYPE.fullmatch(kind):
            raise ImageError(f"the chunk at byte {start} has no name (PNG 5.3)")
        if first != (kind == b"IHDR") or (first and length != 13):
            raise ImageError("the PNG does not begin with one IHDR chunk of 13 bytes (PNG 5.6)")
        if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(image[position - 4 : position], "big"):
            raise ImageError(f"the CRC of the chunk {kind.decode()} at byte {start} is wrong: the image is damaged")
        yield kind, data, start, position

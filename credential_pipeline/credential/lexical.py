"""How a value stands in JSON and in N-Quads.

Belongs here: spellings, and values that have no spelling all libraries agree on. Does not belong here: where a value
stands.
"""

from __future__ import annotations

import re


class TakesReference(Exception):
    """The document takes the reference path, whatever its shape; the text is the reason."""


DELETE = "\x7f"
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
NONCHARACTER = re.compile(f"[{_NONCHARACTERS}]")
_NOT_TEXT = re.compile(f"[\x80-\x9f{_NONCHARACTERS}]")
_NOT_PLAIN = bytes([*range(0x20), 0x22, 0x5C, 0x7F])
RARE = re.compile(f"[{DELETE}{_NONCHARACTERS}]")
_SAFE_INTEGER = 2**53 - 1


def is_plain(text: str) -> bool:
    """Neither JSON nor N-Quads escapes anything of it, and I-JSON takes it (RFC 7493 2.1); surrogates raise."""
    if text.isprintable():
        # Neither controls nor noncharacters are. A fifth of the time, for most texts.
        return '"' not in text and "\\" not in text
    data = text.encode()
    return len(data.translate(None, _NOT_PLAIN)) == len(data) and (text.isascii() or not _NOT_TEXT.search(text))


def nquads_text(json: bytes) -> bytes:
    """RDFC-1.0 5.1 from a JSON text: alike but for the case of hexadecimal digits, and DEL."""
    if b"\\u" in json:
        # Whole escapes only: in a backslash that is text, escaped, the second one starts nothing.
        json = re.sub(rb"\\(?:u00([01][0-9a-f])|.)", _upper, json)
    return json.replace(b"\x7f", b"\\u007F")


def _upper(escape: re.Match[bytes]) -> bytes:
    return b"\\u00" + escape[1].upper() if escape[1] else escape[0]


def json_number(value: float) -> bytes:
    """A number that json, orjson and RFC 8785 write alike; raises TakesReference for any other."""
    if isinstance(value, int):
        if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            return b"%d" % value
    elif 1e-4 <= abs(value) < 1e15 and not value.is_integer():
        # No exponent in Python (below 1e-4, from 1e16) nor in ECMAScript (below 1e-6, from 1e21), and 3.0 is 3 there.
        return repr(value).encode()
    raise TakesReference("a number that JSON libraries write differently (RFC 8785 3.2.2.3)")


def nquads_number(value: float) -> bytes:
    """The lexical form of a JSON number (JSON-LD API 8.6): integers as they are, others as canonical xsd:double."""
    if isinstance(value, int):
        return b"%d" % value
    mantissa, exponent = f"{value:1.15E}".split("E")
    return f"{_trimmed(mantissa)}E{int(exponent)}".encode()


def _trimmed(mantissa: str) -> str:
    trimmed = mantissa.rstrip("0")
    return trimmed + "0" if trimmed.endswith(".") else trimmed

"""What a value inside a signed document may look like: text, IRIs, instants, numbers.

Belongs here: one check and its canonical spelling each. Does not belong here: which member holds what: document.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


class FormError(ValueError):
    """A stranger's JSON is not the document that was asked for."""


class BuildError(ValueError):
    """A document that a standard refuses; the text names the member, the section and the remedy."""


# Controls and noncharacters are where JSON, RDF and XML libraries disagree; surrogates have no UTF-8 (RFC 7493 2.1).
_REFUSED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
# RFC 3987 2.2. White space beyond ASCII, which it takes, is refused: libraries drop, escape or keep it.
_UCS = "\xa1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef" + "".join(
    f"{chr(plane << 16)}-{chr(plane << 16 | 0xFFFD)}" for plane in range(1, 15)
)
_MARKS = r"\-._~!$&'()*+,;="
_ESCAPED = "%[0-9A-Fa-f]{2}"


def _of(more: str) -> str:
    """Any number of characters of an IRI's part that takes the ASCII characters `more`, and `%` with its two digits."""
    plain = f"[A-Za-z0-9{_MARKS}{more}{_UCS}]*"
    return f"{plain}(?:{_ESCAPED}{plain})*"


_PATH = _of(":@/")
_REST = rf"{_PATH}(?:\?{_of(':@/?')})?(?:#{_of(':@/?')})?\Z"
_HOST = rf"(?:{_of(':')}@)?(?=[^/?#:@])(?:{_of('')}|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?=[/?#]|\Z)"
_IRI = re.compile(rf"(?!.*\s)[A-Za-z][A-Za-z0-9+.-]*:(?=.)(?://(?:{_HOST})?(?=[/?#]|\Z)|(?!//)){_REST}")
_URL = re.compile(rf"https?://{_HOST}{_REST}")
_DID_WEB = re.compile(r"did:web:[A-Za-z0-9.-]+(%3A[0-9]+)?(:[A-Za-z0-9._~%-]+)*\Z")


def text(value: str, where: str, *, multiline: bool = False) -> str:
    """`value` unchanged if it is text that every reader spells the same; LF only where `multiline`."""
    if not isinstance(value, str) or not value.strip():
        raise BuildError(f"{where} is empty: leave the member out or give it a text (Open Badges 3.0 appendix B)")
    if bad := _REFUSED.search(value.replace("\n", "") if multiline else value):
        raise BuildError(
            f"{where} holds U+{ord(bad.group()):04X}: control characters, surrogates and noncharacters are refused"
            " (RFC 7493 2.1); remove it at the source"
        )
    return value


def iri(value: str, where: str) -> str:
    """`value` unchanged if it is an absolute IRI (RFC 3987 2.2)."""
    form = _URL if value.startswith(("http:", "https:")) else _IRI
    if not form.match(text(value, where)):
        raise BuildError(
            f"{where} is {value!r}: an absolute IRI is needed, such as https://HOST/PATH#PART (RFC 3987 2.2)"
        )
    return value


def url(value: str, where: str) -> str:
    """`value` unchanged if it is an absolute http or https URL."""
    if not _URL.match(iri(value, where)):
        raise BuildError(f"{where} is {value!r}: an absolute http(s) URL is needed (Open Badges 3.0 appendix B)")
    return value


def did_web(value: str, where: str) -> str:
    """`value` unchanged if it is a did:web identifier without path tricks or fragment (did:web 3.1)."""
    if not _DID_WEB.match(value) or ".." in value.split(":"):
        raise BuildError(
            f"{where} is {value!r}: a did:web identifier is needed, such as did:web:example.org (did:web 3.1)"
        )
    return value


def instant(value: datetime, where: str) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ` of an aware datetime in whole seconds (VC Data Model 2.0, 4.9 dateTimeStamp)."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise BuildError(f"{where} has no time zone: give an aware datetime (VC Data Model 2.0, 4.9)")
    if value.microsecond:
        raise BuildError(f"{where} has a fraction of a second: instants are whole seconds, cut it before the plan")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def validity(starts: datetime, ends: datetime) -> str:
    """validUntil of what is valid from `starts`; raises BuildError unless it comes after (VC Data Model 2.0, 4.9)."""
    until = instant(ends, "valid_until")
    if ends <= starts:
        raise BuildError(f"validUntil {until} is not after validFrom {instant(starts, 'as_of')} (VC 2.0, 4.9)")
    return until


_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)


def parse_instant(value: str, where: str) -> datetime:
    """The instant that a stranger's dateTimeStamp names (XML Schema 1.1, 3.4.28), in UTC; raises FormError."""
    if not _INSTANT.match(value):
        raise FormError(f"{where} is not a dateTimeStamp: {value[:40]!r}")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as cause:
        raise FormError(f"{where} is not a dateTimeStamp: {value[:40]!r}") from cause


def midnight(value: date, where: str) -> datetime:
    """A day as the instant it starts in UTC, the spelling of a date in a dateTimeStamp member."""
    if isinstance(value, datetime):
        raise BuildError(f"{where} is an instant: a day is needed")
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def credit_number(value: Decimal | float, where: str) -> int | float:
    """Credits as the JSON number that RFC 8785 writes: finite, not negative, at most 3 decimals, below a million."""
    try:
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation as cause:
        raise BuildError(f"{where} is {value!r}: a number is needed") from cause
    if not exact.is_finite() or not 0 <= exact < 1_000_000:
        raise BuildError(f"{where} is {value!r}: credits are a finite number from 0 to 999,999 (RFC 8785 3.2.2.3)")
    if exact != exact.quantize(Decimal("0.001")):
        raise BuildError(f"{where} is {value!r}: credits have at most 3 decimals")
    # 3 and not 3.0: "3.0" and "3e0" are one number, so a changed character would go unnoticed.
    return int(exact) if exact == exact.to_integral_value() else float(exact)


_EXTENSION = re.compile(r"ext:[A-Za-z0-9._-]+\Z")


def one_of(value: str, allowed: Iterable[str], where: str) -> str:
    """`value` unchanged if it is one of `allowed` or `ext:NAME` (Open Badges 3.0 appendix B, open enumerations)."""
    if value not in allowed and not _EXTENSION.match(value):
        raise BuildError(f"{where} is {value!r}: use ext:NAME or one of {', '.join(sorted(allowed))} (appendix B)")
    return value


_LANGUAGE = re.compile(r"[a-z]{2,4}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?\Z")  # B.3 LanguageCode


def language(value: str, where: str) -> str:
    """`value` unchanged if it is a language tag as Open Badges 3.0, B.3 LanguageCode, spells it."""
    if not _LANGUAGE.match(value):
        raise BuildError(f"{where} is {value!r}: a BCP 47 code such as en-GB is needed (B.3 LanguageCode)")
    return value


def distinct(items: list[Any], where: str) -> list[Any]:
    """`items` unchanged if no two are equal: a JSON-LD set holds nothing twice, and equal blank nodes cost RDFC."""
    for i, item in enumerate(items):
        if item in items[:i]:
            raise BuildError(f"{where} holds {item!r} twice: remove one (JSON-LD 1.1, 4.3.2: sets)")
    return items


def serialize(document: dict[str, Any]) -> bytes:
    """Compact UTF-8 JSON in insertion order, no escapes beyond JSON's own, no white space.

    Every character then carries meaning: changing one changes the document. Raises BuildError.
    """
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError) as cause:
        raise BuildError(f"not a JSON document (RFC 8259): {cause}") from cause

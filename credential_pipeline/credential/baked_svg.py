"""A credential in an SVG image: one element `openbadges:credential` right behind `<svg>` (Open Badges 3.0, 5.3.2).

Belongs here: finding the places in the bytes with expat, and cutting there, so that all the rest of the image stays as
it was written. Does not belong here: what the image shows, and what the credential says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from credential_pipeline.credential.carried import MAX_IMAGE, ImageError, carried, is_compact_jws

NAMESPACE = "https://purl.imsglobal.org/ob/v3p0"
MAX_DEPTH = 256

_SVG = ("http://www.w3.org/2000/svg svg", "svg")
_CREDENTIAL = f"{NAMESPACE} credential"
_LEGACY = "http://openbadges.org assertion"
_DECLARED = f' xmlns:openbadges="{NAMESPACE}"'.encode()
_ENCODINGS = {None, "utf-8", "us-ascii"}
_SPACE = " \t\r\n"
_SECTION_END = re.compile(rb"\]\]>")  # 1.5 us for 3 kB, where `in` takes 4
_TAG = re.compile(rb"<[^\s/>]+(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
"""A start tag that expat has found well-formed."""
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r"))
"""With U+FFFE and U+FFFF the characters that no XML document holds, in no spelling (XML 1.0, 2.2)."""


@dataclass(frozen=True, slots=True)
class SvgCarrier:
    """An SVG cut open where a credential goes: right behind the start tag of its root."""

    before: bytes
    after: bytes
    declares: bool
    """Whether the root declares the prefix; if it means something else there, the element has to."""

    def bake(self, credential: bytes) -> bytes:
        """The image with `credential` (UTF-8 JSON or a compact JWS); raises ImageError."""
        data = carried(credential)
        own = b"" if self.declares else _DECLARED
        if is_compact_jws(data):
            element = b'<openbadges:credential%b verify="%b"></openbadges:credential>' % (own, data)
        else:
            element = b"<openbadges:credential%b><![CDATA[%b]]></openbadges:credential>" % (own, _in_cdata(data))
        return b"".join((self.before, element, self.after))


def svg_carrier(image: bytes) -> SvgCarrier:
    """`image` without the credentials it may carry, the rest byte for byte; raises ImageError."""
    found = _Reading(image).found
    tag = _tag(image, found.root_start)
    opened, closed = tag[:-1], b""
    if tag.endswith(b"/>"):
        name = re.split(rb"[\s/>]", tag[1:], maxsplit=1)[0]
        opened, closed = tag[:-2], b"</" + name + b">"
    declares = found.prefix in (None, NAMESPACE)
    if found.prefix is None:
        opened += _DECLARED
    after, position = [closed], found.root_start + len(tag)
    for credential in found.credentials:
        after.append(image[position : credential.start])
        position = credential.end
    after.append(image[position:])
    return SvgCarrier(image[: found.root_start] + opened + b">", b"".join(after), declares)


def extract_svg(image: bytes) -> bytes:
    """The credential that the image carries, as it was baked; raises ImageError."""
    found = _Reading(image).found
    if len(found.credentials) > 1:
        raise ImageError(f"the SVG carries {len(found.credentials)} credentials, and 5.3.2 allows one: which is meant?")
    if not found.credentials:
        more = "; it is an Open Badges 1 or 2 badge, which is not verified here" if found.legacy else ""
        raise ImageError(f"the SVG carries no credential: no element openbadges:credential{more}")
    (credential,) = found.credentials
    if credential.problem:
        raise ImageError(f"the element openbadges:credential {credential.problem} (Open Badges 3.0, 5.3.2)")
    text = credential.text()
    if credential.verify is None:
        return carried(text.encode("utf-8"))
    if text.strip(_SPACE) or not is_compact_jws(token := credential.verify.encode("utf-8")):
        raise ImageError("the attribute verify is not a compact JWS, or there is a text beside it: which one is meant?")
    return carried(token)


def _in_cdata(data: bytes) -> bytes:
    """`data` so that an XML parser gives it back: the end of a section, and CR, stand outside."""
    # For 3 kB a translate that drops nothing takes 3 us, where a regular expression takes 25.
    odd = not data.isascii() and (b"\xef\xbf\xbe" in data or b"\xef\xbf\xbf" in data)
    if odd or len(data.translate(None, _CONTROLS)) != len(data):
        raise ImageError("the credential holds a control character, U+FFFE or U+FFFF: no XML can (XML 1.0, 2.2)")
    if _SECTION_END.search(data):
        data = data.replace(b"]]>", b"]]]]><![CDATA[>")
    if b"\r" in data:  # XML 1.0, 2.11: a parser reads it as a line feed
        data = data.replace(b"\r", b"]]>&#13;<![CDATA[")
    return data


@dataclass(slots=True)
class _Credential:
    start: int
    depth: int
    verify: str | None
    problem: str = ""
    end: int = 0
    pieces: list[str] = field(default_factory=list)
    sections: list[int] = field(default_factory=list)
    """Of each CDATA section, the number of pieces before its start and before its end, in turn."""

    def text(self) -> str:
        """The content, without the white space that is set around the section for the eye."""
        if not self.sections:
            return "".join(self.pieces).strip(_SPACE)
        first, last = self.sections[0], self.sections[-1]
        return (
            "".join(self.pieces[:first]).strip(_SPACE)
            + "".join(self.pieces[first:last])
            + "".join(self.pieces[last:]).strip(_SPACE)
        )


@dataclass(slots=True)
class _Found:
    root_start: int = -1
    prefix: str | None = None
    """What the root means by `openbadges:`."""
    legacy: bool = False
    credentials: list[_Credential] = field(default_factory=list)


class _Reading:
    """One pass of expat over the image, which remembers places only. Raises ImageError."""

    def __init__(self, image: bytes) -> None:
        if len(image) > MAX_IMAGE:
            raise ImageError(f"an image of {len(image)} bytes: more than {MAX_IMAGE} are not read")
        self.found = _Found()
        self._image = image
        self._depth = 0
        self._inside: _Credential | None = None
        # The encoding is given: with a declared other one, offsets and text would mean something else to others.
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = False
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartCdataSectionHandler = self._section
        parser.EndCdataSectionHandler = self._section
        parser.CommentHandler = self._comment
        parser.ProcessingInstructionHandler = self._instruction
        try:
            parser.Parse(image, True)
        except expat.ExpatError as cause:
            raise ImageError(f"not an SVG that can be read: {cause}") from cause

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding.lower() if encoding else None) not in _ENCODINGS:
            raise ImageError(f"the SVG is in {encoding[:20] if encoding else ''!r}: save it as UTF-8")

    def _doctype(self, *_: object) -> NoReturn:
        raise ImageError("the SVG has a DOCTYPE, which is refused because it can define entities: delete that line")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        if self._depth == 0 and prefix == "openbadges":
            self.found.prefix = uri

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        if self._depth == 0:
            if name not in _SVG:
                raise ImageError(f"not an SVG: the root is {name[-60:]!r}")
            self.found.root_start = at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ImageError(f"the SVG nests more than {MAX_DEPTH} deep: refused")
        self.found.legacy |= name == _LEGACY
        if self._inside is not None:
            self._inside.problem = "holds other elements"
        elif name == _CREDENTIAL:
            self._inside = _Credential(at, self._depth, attributes.get("verify"))
            if self._depth != 2:
                self._inside.problem = "is not a child of the root"
            self.found.credentials.append(self._inside)

    def _end(self, _name: str) -> None:
        inside = self._inside
        if inside is not None and inside.depth == self._depth:
            tag = _tag(self._image, inside.start)
            at = self._parser.CurrentByteIndex
            inside.end = inside.start + len(tag) if tag.endswith(b"/>") else self._image.index(b">", at) + 1
            self._inside = None
        self._depth -= 1

    def _text(self, text: str) -> None:
        if self._inside is not None:
            self._inside.pieces.append(text)

    def _section(self) -> None:
        if self._inside is not None:
            self._inside.sections.append(len(self._inside.pieces))

    def _comment(self, _text: str) -> None:
        if self._inside is not None:
            self._inside.problem = "holds a comment"

    def _instruction(self, _target: str, _data: str) -> None:
        if self._inside is not None:
            self._inside.problem = "holds a processing instruction"


def _tag(image: bytes, start: int) -> bytes:
    """The start tag at `start`, which expat has read."""
    found = _TAG.match(image, start)
    if found is None:
        raise ImageError(f"the tag at byte {start} cannot be found again: report this image as a bug")
    return found.group()

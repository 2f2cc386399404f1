"""Credentials in images: what goes in comes out, all else stays, and a stranger's image has one meaning or none."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openbadgeslib import baking

from credential_pipeline.credential.baked import ImageError, bake, carrier, extract, kind_of, unknown_kind
from credential_pipeline.credential.document import serialize
from credential_pipeline.credential.verify import Verifier
from credential_pipeline_tests.credential.forms import FORMS, NOW, signed, site

NAMESPACE = "https://purl.imsglobal.org/ob/v3p0"
TOKEN = b"eyJhbGciOiJFUzI1NiJ9.eyJpZCI6MX0.c2ln-_"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
IHDR = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
PIXELS = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
END = chunk(b"IEND", b"")
TEXT = chunk(b"tEXt", b"Comment\x00made by hand") + chunk(b"iTXt", b"Title\x00\x00\x00en\x00\x00Badge")
PNG = SIGNATURE + IHDR + TEXT + PIXELS + END

SVGS = {
    "plain": b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h1"/></svg>',
    "declaration": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- a > b -->\n<svg xmlns="http://www.w3.org/2000/svg"\n'
    b"  id='a>b'  viewBox=\"0 0 1 1\" >\n<style><![CDATA[a > b {}]]></style>\n</svg>\n<!-- after -->\n",
    "byte order mark": b'\xef\xbb\xbf<svg xmlns="http://www.w3.org/2000/svg"><text>\xc3\xa9</text></svg>',
    "prefix": b'<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:g/></s:svg>',
    "empty": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" />',
    "declared": b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:openbadges="https://purl.imsglobal.org/ob/v3p0"><g/></svg>',
    "an older badge": b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:openbadges="http://openbadges.org">'
    b'<openbadges:assertion verify="https://x.example/1"/><g/></svg>',
}
IMAGES = {"PNG": PNG} | SVGS


@pytest.mark.parametrize("form", FORMS)
def test_every_form_comes_out_as_it_went_in_and_verifies(form: str) -> None:
    data = serialize(signed(FORMS[form]))
    verifier = Verifier(site(), NOW)
    for image in (PNG, SVGS["plain"]):
        baked = bake(image, data)
        assert extract(baked) == data
        report = verifier.verify(baked)
        assert report.verdict == "valid", report.reason
        assert [check.name for check in report.checks][:3] == ["kind", "image", "parse"]


ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ufffe\uffff"), max_size=40)
ANY_JSON = st.dictionaries(
    ANY_TEXT | st.sampled_from(["]]>", "<![CDATA[", "]]]]><![CDATA[>", "&amp;", "<!--", "\r\n"]),
    ANY_TEXT | st.lists(st.lists(st.integers(), max_size=2), max_size=2) | st.sampled_from(["]]>", "]]]>>", "]]&gt;"]),
    max_size=5,
)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    content=ANY_JSON,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_json_comes_out_byte_for_byte(
    content: dict[str, object], indent: int | None, ascii_only: bool, end: str
) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent).replace("\n", end)
    data = text.encode()
    for image in (PNG, SVGS["declaration"], SVGS["an older badge"]):
        assert extract(bake(image, data)) == data


@pytest.mark.parametrize("name", IMAGES)
def test_all_else_stays_byte_for_byte(name: str) -> None:
    image = IMAGES[name]
    once = bake(image, b'{"id":"one"}')
    assert bake(once, b'{"id":"one"}') == once
    twice = bake(bake(image, TOKEN), b'{"id":"two"}')
    assert twice == once.replace(b"one", b"two") or name == "PNG"  # there the CRC differs too
    assert extract(twice) == b'{"id":"two"}'
    assert extract(bake(twice, TOKEN)) == TOKEN
    without = once.replace(_carried(once), b"", 1)
    if name == "PNG":
        assert without == image
    else:
        assert without.replace(f' xmlns:openbadges="{NAMESPACE}"'.encode(), b"", name != "declared") in (
            image,
            image.replace(b" />", b" ></svg>"),
        )


def _carried(baked: bytes) -> bytes:
    """The part of the image that carries, found by hand."""
    if baked.startswith(SIGNATURE):
        start = baked.index(b"iTXtopenbadgecredential") - 4
        return baked[start : start + 12 + int.from_bytes(baked[start : start + 4], "big")]
    start, end = baked.index(b"<openbadges:credential"), baked.index(b"</openbadges:credential>")
    return baked[start : end + len(b"</openbadges:credential>")]


def test_the_svg_is_laid_out_as_the_standard_shows_it() -> None:
    root = ElementTree.fromstring(bake(SVGS["declaration"], b'{"id":"]]>"}'))
    assert root[0].tag == f"{{{NAMESPACE}}}credential"
    assert (root[0].text, root[0].attrib) == ('{"id":"]]>"}', {})
    first = ElementTree.fromstring(bake(SVGS["plain"], TOKEN))[0]
    assert (first.text, first.attrib) == (None, {"verify": TOKEN.decode()})


def test_the_png_has_one_uncompressed_text_chunk_behind_ihdr() -> None:
    baked = bake(PNG, TOKEN)
    assert (
        baked
        == SIGNATURE + IHDR + chunk(b"iTXt", b"openbadgecredential\x00\x00\x00\x00\x00" + TOKEN) + TEXT + PIXELS + END
    )


def test_another_implementation_takes_out_what_we_put_in_and_the_other_way_round() -> None:
    data = serialize(signed(FORMS["quotes"]))
    for credential in (data, TOKEN):
        png, svg = bake(PNG, credential), bake(SVGS["plain"], credential)
        assert baking.extract_png(png, keyword=b"openbadgecredential") == credential.decode()
        assert baking.extract_svg(svg, element="openbadges:credential", text_fallback=True) == credential.decode()
        assert extract(baking.bake_png(PNG, credential.decode(), keyword=b"openbadgecredential")) == credential
        theirs = baking.bake_svg(
            SVGS["plain"],
            credential.decode(),
            element="openbadges:credential",
            namespace=NAMESPACE,
            as_text=credential is data,
        )
        assert extract(theirs) == credential


def test_white_space_around_the_section_and_the_credential_is_dropped() -> None:
    section = b'<![CDATA[\n {"a": 1}\n ]]>'
    shown = b'<svg xmlns:openbadges="%b"><openbadges:credential>\n %b\n </openbadges:credential></svg>'
    assert extract(shown % (NAMESPACE.encode(), section)) == b'{"a": 1}'
    assert extract(bake(PNG, b' {"a":1}\n')) == b'{"a":1}'
    assert extract(bake(SVGS["plain"], TOKEN + b"\n")) == TOKEN


def _svg(inside: str, before: str = "", root: str = "svg") -> bytes:
    return f'{before}<{root} xmlns:o="{NAMESPACE}">{inside}</{root}>'.encode()


def _png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


def _text(data: bytes, head: bytes = b"\x00\x00\x00\x00") -> bytes:
    return chunk(b"iTXt", b"openbadgecredential\x00" + head + data)


ONE = _text(b'{"a":1}')
BOMB = zlib.compress(b"{" + b" " * (64 << 20) + b"}", 9)
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "entities": (_svg("<o:credential>&l9;</o:credential>", f'<!DOCTYPE svg [<!ENTITY l0 "ha">{LAUGHS}]>'), "DOCTYPE"),
    "an external entity": (
        _svg("<o:credential>&x;</o:credential>", '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "DOCTYPE",
    ),
    "an external DTD": (_svg("", '<!DOCTYPE svg SYSTEM "https://x.example/svg.dtd">'), "DOCTYPE"),
    "an unknown entity": (_svg("<o:credential>&x;</o:credential>"), "not an SVG that can be read"),
    "deep": (_svg("<g>" * 100_000), "nests more than"),
    "another encoding": (_svg("", '<?xml version="1.0" encoding="UTF-16"?>'), "save it as UTF-8"),
    "bytes that are not UTF-8": (_svg("\u00e9").decode().encode("latin-1"), "not an SVG that can be read"),
    "HTML": (b"<!-- x --><html><svg/></html>", "the root is"),
    "cut short": (bake(SVGS["plain"], TOKEN)[:-3], "not an SVG that can be read"),
    "no credential": (SVGS["plain"], "no element openbadges:credential"),
    "an older badge": (SVGS["an older badge"], "Open Badges 1 or 2"),
    "two": (_svg("<o:credential>{}</o:credential>" * 2), "2 credentials"),
    "one in the other": (_svg("<o:credential><o:credential/></o:credential>"), "holds other elements"),
    "elements inside": (_svg("<o:credential>{}<g/></o:credential>"), "holds other elements"),
    "a comment inside": (_svg("<o:credential>{<!-- -->}</o:credential>"), "holds a comment"),
    "an instruction inside": (_svg("<o:credential>{<?x y?>}</o:credential>"), "processing instruction"),
    "deeper": (_svg("<g><o:credential>{}</o:credential></g>"), "not a child of the root"),
    "both": (_svg(f'<o:credential verify="{TOKEN.decode()}">{{}}</o:credential>'), "which one is meant"),
    "a URL": (_svg('<o:credential verify="https://x.example/1"/>'), "not a compact JWS"),
    "prose": (_svg("<o:credential>hello</o:credential>"), "neither a JSON object nor"),
    "two roots": (SVGS["plain"] * 2, "not an SVG that can be read"),
    "large": (_svg(" " * (5 << 20)), "more than"),
    "a JPEG": (b"\xff\xd8\xff\xe0", "JPEG"),
    "PNG: none": (PNG, "no iTXt chunk"),
    "PNG: an older badge": (
        _png(IHDR, chunk(b"tEXt", b"openbadges\x00https://x.example/1"), END),
        "Open Badges 1 or 2",
    ),
    "PNG: two": (_png(IHDR, ONE, _text(b'{"a":2}'), END), "2 credentials"),
    "PNG: no end": (_png(IHDR, ONE), "cut short"),
    "PNG: no IHDR": (_png(ONE, END), "IHDR"),
    "PNG: two IHDR": (_png(IHDR, IHDR, ONE, END), "IHDR"),
    "PNG: a short IHDR": (_png(chunk(b"IHDR", b""), ONE, END), "IHDR"),
    "PNG: a length that lies": (_png(IHDR, b"\xff\xff\xff\xff" + ONE[4:], END), "cut short"),
    "PNG: a length one less": (_png(IHDR, struct.pack(">I", len(ONE) - 13) + ONE[4:], END), "CRC"),
    "PNG: a wrong CRC": (_png(IHDR, ONE[:-1] + bytes([ONE[-1] ^ 1]), END), "CRC"),
    "PNG: a flipped bit": (_png(IHDR, ONE.replace(b'"a"', b'"b"'), END), "CRC"),
    "PNG: a chunk without a name": (_png(IHDR, chunk(b"1\x002 ", b""), ONE, END), "no name"),
    "PNG: empty chunks": (_png(IHDR, chunk(b"tEXt", b"") * 100_000), "cut short"),
    "PNG: a bomb": (_png(IHDR, _text(BOMB, b"\x01\x00\x00\x00"), END), "unpacks to more"),
    "PNG: compressed and cut": (_png(IHDR, _text(zlib.compress(b"{}")[:-2], b"\x01\x00\x00\x00"), END), "cut short"),
    "PNG: compressed and more": (_png(IHDR, _text(zlib.compress(b"{}") + b"x", b"\x01\x00\x00\x00"), END), "followed"),
    "PNG: not compressed": (_png(IHDR, _text(b"{}", b"\x01\x00\x00\x00"), END), "not zlib"),
    "PNG: another compression": (_png(IHDR, _text(b"{}", b"\x02\x00\x00\x00"), END), "unknown compression"),
    "PNG: no language": (_png(IHDR, chunk(b"iTXt", b"openbadgecredential\x00\x00\x00"), END), "unknown compression"),
    "PNG: no translated keyword": (
        _png(IHDR, chunk(b"iTXt", b"openbadgecredential\x00\x00\x00\x00x"), END),
        "cut short",
    ),
    "PNG: a NUL": (_png(IHDR, _text(b'{"a":"\x00"}'), END), "NUL"),
    "PNG: not UTF-8": (_png(IHDR, _text(b'{"a":"\xff"}'), END), "not UTF-8"),
    "PNG: large": (_png(IHDR, chunk(b"tEXt", bytes(5 << 20)), ONE, END), "more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_with_a_reason(name: str) -> None:
    image, reason = HOSTILE[name]
    with pytest.raises(ImageError, match=reason):
        extract(image)
    report = Verifier(site(), NOW).verify(image)
    assert report.verdict == "invalid"
    assert len(report.reason) < 400


def test_a_bomb_is_unpacked_as_far_as_the_cap_only() -> None:
    image = HOSTILE["PNG: a bomb"][0]
    tracemalloc.start()
    with pytest.raises(ImageError):
        extract(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20


def test_a_compressed_text_of_another_program_is_read() -> None:
    image = _png(IHDR, _text(zlib.compress(b'{"a":1}'), b"\x01\x00de\x00Nachweis\x00"), END)
    assert extract(image) == b'{"a":1}'


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (b"", "neither"),
        (b"[]", "neither"),
        (b"a.b", "neither"),
        (b"a.b.c.d", "neither"),
        (b'{"a":"\x00"}', "NUL"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"' + b"x" * (3 << 20) + b'"}', "at most"),
    ],
)
def test_what_no_image_carries(credential: bytes, reason: str) -> None:
    for image in (PNG, SVGS["plain"]):
        with pytest.raises(ImageError, match=reason):
            bake(image, credential)


@pytest.mark.parametrize("character", ["\x01", "\x1f", "\ufffe", "\uffff"])
def test_what_xml_cannot_carry(character: str) -> None:
    data = f'{{"a":"{character}"}}'.encode()
    with pytest.raises(ImageError, match="no XML"):
        bake(SVGS["plain"], data)
    assert extract(bake(PNG, data)) == data


def _tampered(image: bytes) -> Callable[[int], bytes]:
    return lambda at: image[:at] + bytes([image[at] ^ (1 << at % 7)]) + image[at + 1 :]


@pytest.mark.parametrize("name", ["PNG", "declaration"])
def test_one_changed_byte_of_what_is_carried_is_not_valid(name: str) -> None:
    baked = bake(IMAGES[name], serialize(signed(FORMS["honours"])))
    start = baked.index(_carried(baked))
    end = start + len(_carried(baked))
    verifier, changed = Verifier(site(), NOW), _tampered(baked)
    for at in random.Random(4).sample(range(start, end), 250):
        report = verifier.verify(changed(at))
        assert report.verdict not in ("valid", "expired"), baked[at - 20 : at + 20]


def test_any_cut_and_any_noise_is_told_and_never_raises() -> None:
    chance = random.Random(11)
    for image in (bake(PNG, TOKEN), bake(SVGS["declaration"], b'{"a":"]]>"}')):
        for at in range(len(image) - 20):
            _try(image[:at])
        for _ in range(300):
            noisy = bytearray(image)
            for at in chance.sample(range(len(image)), 3):
                noisy[at] = chance.randrange(256)
            _try(bytes(noisy))


def _try(image: bytes) -> None:
    with contextlib.suppress(ImageError):
        extract(image)
    with contextlib.suppress(ImageError):
        carrier(image).bake(TOKEN)


def test_what_stands_after_the_image_is_kept() -> None:
    baked = bake(PNG + b"trailer", TOKEN)
    assert baked.endswith(END + b"trailer")
    assert extract(baked) == TOKEN


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "PNG"),
        (SVGS["declaration"], "SVG"),
        (b'\xef\xbb\xbf {"a":1}', "JSON"),
        (TOKEN + b"\n", "JWT"),
        (b"", None),
        (b"hello", None),
        (b"PK\x03\x04", None),
    ],
)
def test_kinds(data: bytes, kind: str | None) -> None:
    assert kind_of(data) == kind
    assert unknown_kind(data)


def test_only_images_are_baked() -> None:
    for other in (b"", b"GIF89a", b"{}", TOKEN):
        with pytest.raises(ImageError, match="SVG or PNG"):
            bake(other, TOKEN)


def test_pixels_are_the_same_to_a_program_that_shows_them() -> None:
    """The chunks that a decoder reads, in order, are those of the image."""
    assert [kind for kind in _names(bake(PNG, TOKEN)) if kind[0] & 0x20 == 0] == [b"IHDR", b"IDAT", b"IEND"]


def _names(png: bytes) -> list[bytes]:
    stream, names = io.BytesIO(png[8:]), []
    for _ in itertools.repeat(None):
        if not (head := stream.read(8)):
            return names
        names.append(head[4:])
        stream.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return names

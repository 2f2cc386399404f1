"""How a signed document is kept in `ledger.credential.document`: compressed bytes and the name of the form.

Forms: `zstd`, and `zstd:N` with the dictionary N of `ledger.document_dictionary`, which makes 0.4 kB of a credential
instead of 1.4 in a third of the time. Belongs here: the two directions, and training. Does not belong here: what the
documents say, and where dictionaries come from (store/dictionaries.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import zstandard

from credential_pipeline.errors import Terminal

ZSTD = "zstd"
WITH_DICTIONARY = f"{ZSTD}:"
LEVEL = 3
"""Higher ones save 3 % and take 4 times as long."""
# A credential has 2 to 4 kB; a damaged frame must not unpack to gigabytes.
MAX_DOCUMENT_BYTES = 16 << 20
TYPICAL_BYTES = 4096
DICTIONARY_BYTES = 4096
"""Twice as much saves 2 % of a document."""


@dataclass(frozen=True)
class Dictionary:
    """A dictionary of the ledger."""

    dictionary_id: int
    content: bytes = field(repr=False)


def train(samples: Sequence[bytes]) -> bytes:
    """A dictionary for documents like these; the same for the same samples and version of zstd.

    Segments of 1 kB: what documents of one achievement have in common comes in long pieces (256 bytes cost 25 % more).
    """
    return zstandard.train_dictionary(DICTIONARY_BYTES, list(samples), k=1024, d=8).as_bytes()


class DocumentWriter:
    """Packs documents, each with the dictionary of its achievement where there is one; for one thread."""

    def __init__(self, dictionaries: Mapping[str, Dictionary]) -> None:
        self._forms = {name: (f"{WITH_DICTIONARY}{d.dictionary_id}", _packing(d)) for name, d in dictionaries.items()}
        self._plain = (ZSTD, zstandard.ZstdCompressor(level=LEVEL).compress)

    def store(self, achievement: str, data: bytes) -> tuple[str, bytes]:
        """(form, bytes) to put into `document_form` and `document`; the same input gives the same bytes."""
        form, pack = self._forms.get(achievement, self._plain)
        return form, pack(data)


def _packing(dictionary: Dictionary) -> Callable[[bytes], bytes]:
    words = zstandard.ZstdCompressionDict(dictionary.content)
    # Tables for documents of this size: larger ones, of several dictionaries, leave the processor's cache. The form
    # names the dictionary: 4 bytes a document less.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        source_size=TYPICAL_BYTES,
        dict_size=len(dictionary.content),
        write_dict_id=False,
        write_content_size=True,
    )
    words.precompute_compress(compression_params=parameters)
    return zstandard.ZstdCompressor(dict_data=words, compression_params=parameters).compress


def store_document(data: bytes) -> tuple[str, bytes]:
    """(form, bytes) without a dictionary."""
    return DocumentWriter({}).store("", data)


class DocumentReader:
    """Unpacks documents of any form, also of earlier versions; for one thread.

    `dictionary` gives the content of a dictionary by its number, or None; each is asked for once.
    """

    def __init__(self, dictionary: Callable[[int], bytes | None]) -> None:
        self._dictionary = dictionary
        self._known = {ZSTD: zstandard.ZstdDecompressor()}

    def read(self, form: str, data: bytes) -> bytes:
        """The document's bytes as they were signed.

        Raises:
            Terminal: the form is not known, its dictionary is missing, or the bytes are damaged.
        """
        unpacking = self._known.get(form)
        if unpacking is None:
            unpacking = self._known[form] = self._unpacking(form)
        try:
            return unpacking.decompress(data, max_output_size=MAX_DOCUMENT_BYTES)
        except zstandard.ZstdError as error:
            raise Terminal(
                "a document in ledger.credential cannot be unpacked: the database is damaged, restore it from the"
                " backup"
            ) from error

    def _unpacking(self, form: str) -> zstandard.ZstdDecompressor:
        number = form.removeprefix(WITH_DICTIONARY)
        if not form.startswith(WITH_DICTIONARY) or not (number.isascii() and number.isdecimal()):
            raise Terminal(
                f"ledger.credential.document_form {form!r} is not known to this version: upgrade the pipeline, or"
                " restore the database that belongs to it"
            )
        content = self._dictionary(int(number))
        if content is None:
            raise Terminal(
                f"dictionary {number} of ledger.document_dictionary is missing, and documents cannot be unpacked"
                " without it: restore the database whole from the backup"
            )
        return zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(content))


def read_document(form: str, data: bytes) -> bytes:
    """A document that was stored without a dictionary; raises what DocumentReader raises."""
    return DocumentReader(lambda _number: None).read(form, data)

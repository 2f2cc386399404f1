"""How a signed document is kept in `ledger.credential.document`: compressed bytes and the name of the form.

Belongs here: the two directions. Does not belong here: what the document says, and which documents are kept.
"""

from __future__ import annotations

import zstandard

from credential_pipeline.errors import Terminal

ZSTD = "zstd"
# A credential has 2 to 4 kB; a damaged frame must not unpack to gigabytes.
MAX_DOCUMENT_BYTES = 16 << 20


def store_document(data: bytes) -> tuple[str, bytes]:
    """(form, bytes) to put into `document_form` and `document`; the same input gives the same bytes."""
    # A compressor is not safe to share between threads, and making one costs 2 microseconds.
    return ZSTD, zstandard.ZstdCompressor(level=3).compress(data)


def read_document(form: str, data: bytes) -> bytes:
    """The document's bytes as they were signed.

    Raises:
        Terminal: the form is not known, or the bytes are damaged.
    """
    if form != ZSTD:
        raise Terminal(
            f"ledger.credential.document_form {form!r} is not known to this version: upgrade the pipeline, or restore"
            " the database that belongs to it"
        )
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_DOCUMENT_BYTES)
    except zstandard.ZstdError as error:
        raise Terminal(
            "a document in ledger.credential cannot be unpacked: the database is damaged, restore it from the backup"
        ) from error

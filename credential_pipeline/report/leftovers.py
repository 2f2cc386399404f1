"""Look for texts of a person everywhere they could be: every table and column, every object, every file of a home.

Belongs here: searching, and saying where something was found. Does not belong here: erasing (issue/erase.py). It shows
places and numbers, never what it found there. Names can be shared: a place may hold a namesake's data, so a person
looks at each.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard
from sqlalchemy import Connection, Engine, text

from credential_pipeline.errors import Terminal
from credential_pipeline.store.dictionaries import reader_of
from credential_pipeline.store.document_form import MAX_DOCUMENT_BYTES, ZSTD, DocumentReader
from credential_pipeline.store.objects import ObjectStore

LEAST = 4
"""Characters of a text that is sought by itself: a key `17` is in every table, and proves nothing."""

TEXTS = {"text", "character varying", "character", "json", "jsonb", "ARRAY", "xml", "name"}
HASH = 32
SHOWN = 3


@dataclass(frozen=True)
class Leftover:
    """A place that still holds one of the texts: `SCHEMA.TABLE.COLUMN` or an object's path, rows, and the first few."""

    place: str
    rows: int
    first: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({', '.join(self.first)})" if self.first else ""
        return f"{self.place}: {self.rows}{named}"


@dataclass(frozen=True)
class Search:
    """What was searched and what was found. `too_short`: texts that are too short to be sought by themselves."""

    sought: int
    too_short: int
    columns: int
    objects: int
    files: int
    leftovers: tuple[Leftover, ...]

    @property
    def clean(self) -> bool:
        """Whether something was sought, and nothing found."""
        return self.sought > 0 and not self.leftovers


def search(
    engine: Engine,
    texts: Iterable[str],
    *,
    store: ObjectStore | None = None,
    folders: Sequence[Path] = (),
) -> Search:
    """Search the whole database (Dagster's tables in it too), the published objects, and the files of folders.

    A text counts as found where it is a word or words of its own, whatever the case: `U1` is not found in `U17`.
    Compressed documents and snapshots are unpacked. It reads everything once: 1 to 2 minutes for a million credentials.
    """
    wanted = sorted({t.strip() for t in texts if t.strip()})
    long = [t for t in wanted if len(t) >= LEAST]
    found: list[Leftover] = []
    columns = objects = files = 0
    if long:
        needle = _Needle(long)
        with engine.connect() as connection:
            for table in _tables(connection):
                columns += len(table.texts) + len(table.bytes)
                found += _in_table(connection, table, needle)
        for path in store.list() if store is not None else ():
            objects += 1
            if store is not None and needle.is_in_bytes(store.get(path) or b""):
                found.append(Leftover(f"object {path}", 1))
        for file in _files(folders):
            files += 1
            if needle.is_in_bytes(file.read_bytes()):
                found.append(Leftover(f"file {file}", 1))
    return Search(len(long), len(wanted) - len(long), columns, objects, files, tuple(found))


class _Needle:
    """The texts in the forms in which JSON and Unicode may write them; first a quick look, then words of their own."""

    def __init__(self, texts: Sequence[str]) -> None:
        forms: set[str] = set()
        for given in texts:
            for normal in ("NFC", "NFD"):
                for cased in (given, given.lower(), given.upper(), given.title()):
                    written = unicodedata.normalize(normal, cased)
                    forms |= {written, json.dumps(written)[1:-1], json.dumps(written, ensure_ascii=False)[1:-1]}
        alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![^\W_])(?:{alternatives})(?![^\W_])", re.IGNORECASE)
        # A database of locale C lowers ASCII only, as bytes.lower() does; others lower all: both forms are looked for.
        self._bytes = {form.encode().lower() for form in forms}
        self.lowered = sorted({form.lower() for form in forms} | {form.decode() for form in self._bytes})

    def is_in(self, value: str | None) -> bool:
        return value is not None and self._pattern.search(value) is not None

    def is_in_bytes(self, data: bytes) -> bool:
        plain = _unpacked(data)
        low = plain.lower()  # a pattern without case takes 50 times as long on each of a million documents
        return any(form in low for form in self._bytes) and self.is_in(plain.decode("utf-8", "replace"))


def _unpacked(data: bytes) -> bytes:
    try:
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_DOCUMENT_BYTES)
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data[:1] == b"\x78":
            return zlib.decompress(data)
    except (zstandard.ZstdError, OSError, EOFError, zlib.error, MemoryError):
        return data  # damaged, or it only begins like one
    return data


@dataclass(frozen=True)
class _Table:
    name: str
    quoted: str
    texts: tuple[str, ...]
    bytes: tuple[str, ...]
    key: str


COLUMNS = """
select c.table_schema || '.' || c.table_name as name,
       quote_ident(c.table_schema) || '.' || quote_ident(c.table_name) as quoted, quote_ident(c.column_name) as column,
       c.data_type
from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
where t.table_type = 'BASE TABLE' and c.table_schema not in ('pg_catalog', 'information_schema')
  and c.table_schema not like 'pg_temp%' and c.table_schema not like 'pg_toast%'
order by 1, c.ordinal_position
"""


def _tables(connection: Connection) -> list[_Table]:
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, quoted, column, kind in connection.execute(text(COLUMNS)):
        columns.setdefault((name, quoted), []).append((column, kind))
    return [
        _Table(
            name,
            quoted,
            tuple(column for column, kind in has if kind in TEXTS),
            tuple(column for column, kind in has if kind == "bytea"),
            # Shown to find the row again; only counters and uuids, because a textual key can be a person's own.
            next((column for column, kind in has if kind in ("bigint", "uuid", "integer")), "ctid"),
        )
        for (name, quoted), has in columns.items()
    ]


def _in_table(connection: Connection, table: _Table, needle: _Needle) -> Iterator[Leftover]:
    if table.texts:
        found: dict[str, list[str]] = {}
        columns = [f"{column}::text" for column in table.texts]
        # One pass by plain search, for all columns at once; what it finds is looked at here, column by column.
        looks = " or ".join(f"strpos(low, :look_{n}) > 0" for n in range(len(needle.lowered)))
        rows = connection.execute(
            text(
                f"select {table.key}::text, {', '.join(columns)} from {table.quoted},"
                f" lateral (select lower(concat_ws(chr(10), {', '.join(columns)})) as low offset 0) l where {looks}"
            ),
            {f"look_{n}": form for n, form in enumerate(needle.lowered)},
            execution_options={"yield_per": 1000},
        )
        for key, *values in rows:
            for column, value in zip(table.texts, values, strict=True):
                if needle.is_in(value):
                    found.setdefault(column, []).append(key)
        for column, keys in found.items():
            yield Leftover(f"{table.name}.{column}", len(keys), _keys(table, keys[:SHOWN]))
    if table.name == "ledger.credential":
        yield from _in_documents(connection, needle)
    for column in table.bytes:
        holding = [
            key
            for key, data in connection.execute(
                text(f"select {table.key}::text, {column} from {table.quoted} where octet_length({column}) > {HASH}"),
                execution_options={"yield_per": 1000},
            )
            if needle.is_in_bytes(bytes(data))
        ]
        if holding:
            yield Leftover(f"{table.name}.{column}", len(holding), _keys(table, holding[:SHOWN]))


def _in_documents(connection: Connection, needle: _Needle) -> Iterator[Leftover]:
    """Documents packed with a dictionary; what cannot be unpacked counts as found: nobody knows what it says."""
    rows = connection.execute(
        text(
            "select credential_id, document_form, document from ledger.credential"
            " where document is not null and document_form <> :plain"
        ),
        {"plain": ZSTD},
        execution_options={"yield_per": 1000},
    )
    reader = reader_of(connection)
    holding = [str(one) for one, form, data in rows if _may_hold(needle, reader, form, data)]
    if holding:
        first = tuple(f"credential_id {one}" for one in holding[:SHOWN])
        yield Leftover("ledger.credential.document", len(holding), first)


def _may_hold(needle: _Needle, reader: DocumentReader, form: str, data: bytes) -> bool:
    try:
        return needle.is_in_bytes(reader.read(form, data))
    except Terminal:
        return True


def _keys(table: _Table, first: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{table.key} {value}" for value in first)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())

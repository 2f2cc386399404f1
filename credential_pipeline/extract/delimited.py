"""Reading delimited text files as rows, or refusing the whole file with a reason.

Belongs here: bytes -> header and rows, the same for CRLF or LF, with or without a BOM. Does not belong here:
what a column means, and the database.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from credential_pipeline.credential.identifiers import row_hash
from credential_pipeline.extract.breaches import Breach
from credential_pipeline.institution.sources import Dataset

LONGEST_CELL = 1_000_000
"""Characters; a stray quote swallows what follows it, and this is where that stops being a cell."""

FILE_CODES = (
    "empty_file", "not_utf8", "missing_column", "duplicate_column", "malformed_csv", "no_file", "empty_extract",
)  # fmt: skip


class FileBreachError(Exception):
    """The file cannot be read as this dataset; carries the breach."""

    def __init__(self, breach: Breach) -> None:
        super().__init__(str(breach))
        self.breach = breach


@dataclass(frozen=True)
class OfferedRow:
    """A row of a file: its number after the header (from 1), cells by column name, problems found in reading."""

    number: int
    row_hash: bytes
    cells: dict[str, str]
    problems: tuple[str, ...]


def digest(path: Path) -> tuple[bytes, int]:
    """SHA-256 and size in bytes of a file, read once in blocks."""
    with path.open("rb") as stream:
        hashed = hashlib.file_digest(stream, "sha256")
        return hashed.digest(), stream.tell()


def read_rows(path: Path, name: str, dataset_name: str, dataset: Dataset) -> Iterator[OfferedRow]:
    """Yield the rows of a file.

    Raises:
        FileBreachError: the file is empty, is not UTF-8, is not well-formed, or lacks a mapped column. Raised
            while iterating: whoever stores rows does it in one transaction.
    """
    csv.field_size_limit(LONGEST_CELL)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=dataset.delimiter, strict=True)
            header = _header(next((record for record in reader if record), []), name, dataset)
            for record in reader:
                if not record:  # a blank line is no row
                    continue
                number += 1
                yield _offered(number, header, record, dataset_name)
    except UnicodeDecodeError as error:
        raise FileBreachError(
            Breach(
                "not_utf8",
                f"byte {error.object[error.start]:#04x} in line {_first_bad_line(path)} is not UTF-8",
                "export the file again as UTF-8",
                name,
            )
        ) from error
    except csv.Error as error:
        raise FileBreachError(
            Breach(
                "malformed_csv",
                f"line {reader.line_num}: {error}",
                "close every quote, double a quote inside a quoted cell, and export the file again",
                name,
            )
        ) from error
    if number == 0:
        raise FileBreachError(
            Breach("empty_file", "a header and no rows", "offer the file again with its rows, or remove it", name)
        )


def _first_bad_line(path: Path) -> int:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return number


def _header(record: list[str], name: str, dataset: Dataset) -> list[str]:
    header = [cell.strip() for cell in record]
    if not any(header):
        raise FileBreachError(
            Breach(
                "empty_file", "the file is empty", "offer the file again with its header and rows, or remove it", name
            )
        )
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise FileBreachError(
            Breach("duplicate_column", f"the header names {', '.join(twice)} twice", "name every column once", name)
        )
    if missing := [column for column in dataset.columns.values() if column not in header]:
        near = difflib.get_close_matches(missing[0], header, n=1)
        hint = f" (is it {near[0]}?)" if near else ""
        raise FileBreachError(
            Breach(
                "missing_column",
                f"no column {', '.join(missing)}{hint}; the header has: {', '.join(header)}",
                "export the file with these columns, or map the new names under `columns` of the dataset",
                name,
            )
        )
    return header


def _offered(number: int, header: list[str], record: list[str], dataset_name: str) -> OfferedRow:
    problems: list[str] = []
    if len(record) != len(header):
        problems.append("ragged_row")
        header = [*header, *(f"column {n}" for n in range(len(header) + 1, len(record) + 1))]
    cells = dict(zip(header, record, strict=False))
    hashed = row_hash(dataset_name, cells)
    if any("\x00" in cell for cell in record):
        # PostgreSQL cannot hold NUL in text: its picture stands in, and the row is known to be bad.
        problems.append("control_characters")
        cells = {column: cell.replace("\x00", "\u2400") for column, cell in cells.items()}
    return OfferedRow(number, hashed, cells, tuple(problems))

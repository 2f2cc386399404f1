"""Source records: from the fields of an accepted row, and as the rules see them.

Belongs here: which of an institution's fields say who somebody is, and how they are kept in
`identity.source_record`. Does not belong here: SQL (persons.py), and judging records (rules.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from credential_pipeline.credential.identifiers import source_key
from credential_pipeline.identify.names import parse_name, split_sort_name
from credential_pipeline.identify.rules import Record, comparable_identifier, known_birth_date
from credential_pipeline.institution.sources import Dataset

BARE_HASH = hashlib.sha256(b"").digest()
"""`fields_hash` of a record without a row of its own: any row of people that comes later is a change."""

REFERENCE = "key:"
"""Begins the types under which a record keeps its keys in other sources; no identifier type has a colon."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A row of `identity.source_record` without its person: names, e-mail and birth date as the source has them.

    `identifiers` holds comparable values by type, and under `key:SOURCE` the key in another source.
    """

    source_key: str
    row_id: int
    fields_hash: bytes
    given_name: str | None = None
    family_name: str | None = None
    full_name: str | None = None
    email: str | None = None
    birth_date: date | None = None
    identifiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The id of the source."""
        return self.source_key.partition(":")[0]

    def comparable(self) -> Record:
        """The record as the rules see it."""
        return Record(
            source_key=self.source_key,
            name=parse_name(given=self.given_name, family=self.family_name, full=self.full_name),
            email=self.email.casefold() if self.email else None,
            birth_date=known_birth_date(self.birth_date),
            identifiers=tuple(sorted((k, v) for k, v in self.identifiers.items() if not k.startswith(REFERENCE))),
            refers_to=frozenset(
                source_key(k.removeprefix(REFERENCE), v) for k, v in self.identifiers.items() if k.startswith(REFERENCE)
            ),
        )


def from_fields(dataset: Dataset, key: str, row_id: int, fields_hash: bytes, fields: Mapping[str, str]) -> SourceRecord:
    """The source record of an accepted row of people.

    Read are `given_name` and `family_name`, or `sort_name` ("Family, Given"), or `full_name`; `email`,
    `birth_date`, and the fields that the dataset declares as identifiers and cross references.
    """
    given: str | None = fields.get("given_name")
    family: str | None = fields.get("family_name")
    full: str | None = fields.get("full_name")
    if not (given or family) and (sort_name := fields.get("sort_name")):
        if parts := split_sort_name(sort_name):
            given, family = parts
        else:
            full = full or sort_name
    identifiers = {
        kind: value
        for kind, name in dataset.identifiers.items()
        if (value := comparable_identifier(fields.get(name) or ""))
    }
    identifiers |= {
        REFERENCE + source: other for source, name in dataset.cross_references.items() if (other := fields.get(name))
    }
    return SourceRecord(
        source_key=key,
        row_id=row_id,
        fields_hash=fields_hash,
        given_name=given or None,
        family_name=family or None,
        full_name=full or None,
        email=fields.get("email") or None,
        birth_date=_date(fields.get("birth_date")),
        identifiers=identifiers,
    )


def _date(text: str | None) -> date | None:
    # A dataset without a date check lets any text through: what is no date cannot be compared.
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None

"""The dictionaries of `ledger.document_dictionary`, which documents are packed with: kept for good.

Belongs here: adding, finding and reading them. Does not belong here: packing (document_form.py), and what they are
trained on (issue/sentinels.py): never on anybody's data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from credential_pipeline.store.document_form import Dictionary, DocumentReader

if TYPE_CHECKING:
    from credential_pipeline.institution.catalogue import Achievement, Catalogue


def reader_of(connection: Connection) -> DocumentReader:
    """A reader of the documents in this ledger; it asks the connection for dictionaries when it meets them."""

    def content(number: int) -> bytes | None:
        found: bytes | None = connection.scalar(
            text("select content from ledger.document_dictionary where dictionary_id = :id"), {"id": number}
        )
        return found

    return DocumentReader(content)


def ensure_dictionaries(
    connection: Connection,
    catalogue: Catalogue,
    run_id: str,
    train: Callable[[Achievement], bytes | None],
    used: Iterable[str],
) -> dict[str, Dictionary]:
    """The dictionaries of the achievements that are `used`, in their versions of this catalogue; trained if missing.

    Two processes at once train the same one, and the first row stands for both.
    """
    achievements = [catalogue.achievements[name] for name in sorted({*used})]
    found = _find(connection, achievements)
    missing = [achievement for achievement in achievements if achievement.id not in found]
    for achievement in missing:
        if (content := train(achievement)) is None:
            continue
        connection.execute(
            text(
                "insert into ledger.document_dictionary"
                " (achievement, achievement_version, catalogue_version, content, sha256, run_id)"
                " values (:a, :version, :catalogue, :content, :sha256, :run) on conflict do nothing"
            ),
            {
                "a": achievement.id, "version": achievement.version, "catalogue": catalogue.version,
                "content": content, "sha256": hashlib.sha256(content).digest(), "run": run_id,
            },
        )  # fmt: skip
    return found | _find(connection, missing) if missing else found


def _find(connection: Connection, achievements: Iterable[Achievement]) -> dict[str, Dictionary]:
    versions = {achievement.id: achievement.version for achievement in achievements}
    rows = connection.execute(
        text(
            "select d.achievement, d.dictionary_id, d.content from ledger.document_dictionary d"
            " join unnest(cast(:names as text[]), cast(:versions as text[])) w(name, version)"
            " on w.name = d.achievement and w.version = d.achievement_version"
        ),
        {"names": list(versions), "versions": list(versions.values())},
    )
    return {name: Dictionary(number, bytes(content)) for name, number, content in rows}

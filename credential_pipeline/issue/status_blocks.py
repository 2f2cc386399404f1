"""Positions in status lists: reserved in contiguous blocks by the plan that needs them, never given back.

A block is a row; positions become (list, index) by the list's keyed permutation, which publishes neither the order
nor the size of a batch.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH
from credential_pipeline.issue.status_places import StatusBlock


def reserve(connection: Connection, plan: UUID, purpose: str, size: int, secret_version: int) -> None:
    """Reserve `size` positions for a plan in the current transaction, opening the lists they lie in."""
    first: int = connection.execute(
        text(
            "insert into ledger.status_cursor as c (purpose, next_position) values (:purpose, :size)"
            " on conflict (purpose) do update set next_position = c.next_position + :size"
            " returning next_position - :size"
        ),
        {"purpose": purpose, "size": size},
    ).scalar_one()
    connection.execute(
        text("insert into ledger.status_block (plan_id, purpose, first_position, size) values (:p, :u, :f, :s)"),
        {"p": plan, "u": purpose, "f": first, "s": size},
    )
    for ordinal in range(first // STATUS_LIST_LENGTH, (first + size - 1) // STATUS_LIST_LENGTH + 1):
        connection.execute(
            text(
                "insert into ledger.status_list (list_number, purpose, ordinal, secret_version)"
                " select coalesce(max(list_number), 0) + 1, :purpose, :ordinal, :version from ledger.status_list"
                " having not exists ("
                "   select from ledger.status_list where purpose = :purpose and ordinal = :ordinal)"
            ),
            {"purpose": purpose, "ordinal": ordinal, "version": secret_version},
        )


def blocks_of(connection: Connection, plan: UUID) -> dict[str, StatusBlock]:
    """The blocks a plan holds, by purpose."""
    lists = connection.execute(text("select purpose, ordinal, list_number, secret_version from ledger.status_list"))
    by_purpose: dict[str, dict[int, tuple[int, int]]] = {}
    for purpose, ordinal, number, version in lists:
        by_purpose.setdefault(purpose, {})[ordinal] = (number, version)
    blocks = connection.execute(
        text("select purpose, first_position from ledger.status_block where plan_id = :plan"), {"plan": plan}
    )
    return {purpose: StatusBlock(purpose, first, by_purpose[purpose]) for purpose, first in blocks}

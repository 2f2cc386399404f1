"""Recording a chunk of credentials that were made and checked, in the caller's transaction.

Belongs here: the rows of new credentials, and the versions they take the place of. Does not belong here: whether the
plan may be applied at all (apply.py) and how a credential is made (making.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue import states
from credential_pipeline.issue.compose import CheckError
from credential_pipeline.issue.making import CREDENTIAL, EVENT, MESSAGE, STATE, Made
from credential_pipeline.issue.status_places import StatusBlock
from credential_pipeline.store.binary_copy import copy_encoded
from credential_pipeline.store.document_form import Dictionary


@dataclass(frozen=True)
class PlanInHand:
    """An approved plan that is being applied. `catalogue`: as it was when the plan was made."""

    plan_id: UUID
    hash: bytes
    kind: str
    approval: str
    as_of: datetime
    created_by: str
    reason: str | None
    catalogue: Catalogue
    blocks: Mapping[str, StatusBlock]
    dictionaries: Mapping[str, Dictionary]


def record(connection: Connection, made: Made) -> None:
    """Put the credentials of a chunk into the ledger, each with its state, first event and message."""
    for table, columns, rows in (
        ("ledger.credential", CREDENTIAL, made.credentials),
        ("ledger.credential_state", STATE, made.states),
        ("ledger.event", EVENT, made.events),
        ("outbox.message", MESSAGE, made.messages),
    ):
        copy_encoded(connection, table, columns, [rows.data])


def supersede(connection: Connection, plan: PlanInHand, made: Made, run_id: str) -> None:
    """The version before gives way in the same transaction; the message about the new one tells of it.

    Raises:
        CheckError: it cannot give way; nothing may be recorded.
    """
    priors = len(made.supersedes)
    if not priors:
        return
    done, refused = states.supersede(
        connection, plan.plan_id, made.ordinals, reason=plan.reason or plan.kind, actor=plan.created_by, run_id=run_id
    )
    if refused:
        credential, why = next(iter(refused.items()))
        raise CheckError(f"credential {credential} cannot give way to its next version: {why}; nothing was recorded")
    if done != priors:
        raise CheckError(
            f"{priors - done} credentials that lines of plan {plan.plan_id} cite as prior have no state; nothing was"
            " recorded. The ledger was restored in part: `credential-pipeline reconcile` says what is missing"
        )

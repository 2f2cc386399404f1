"""What a merge of persons does to awards: they move to the survivor, and a second one for the same thing is marked.

Runs before anything is earned, so that the survivor's award is found and not minted again
(docs/decisions/0001-identifiers-and-time.md, "merge").
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, text

log = logging.getLogger(__name__)


def settle_merges(connection: Connection) -> int:
    """Move awards of merged persons to their survivors; returns how many moved.

    Where the survivor has a live award for the same achievement and occurrence, the younger of the two becomes
    `duplicate_of` the older. Its credential, if any, is for a person to revoke: plan.py holds a line for it.
    """
    moving = connection.execute(
        text(
            "select w.award_id, w.achievement, w.occurrence, w.day, p.person_id as survivor"
            " from ledger.award w join identity.person_alias p on p.alias_id = w.person_id"
            " order by w.day, w.award_id for update of w"
        )
    ).all()
    for award in moving:
        rival = connection.execute(
            text(
                "select award_id, day from ledger.award where person_id = :survivor and achievement = :achievement"
                " and occurrence = :occurrence and duplicate_of is null for update"
            ),
            award._asdict(),
        ).first()
        if rival is not None:
            older, younger = sorted([(rival.day, rival.award_id), (award.day, award.award_id)])
            connection.execute(
                text(
                    "update ledger.award set duplicate_of = :older where award_id = :younger or duplicate_of = :younger"
                ),
                {"older": older[1], "younger": younger[1]},
            )
        connection.execute(
            text("update ledger.award set person_id = :survivor where award_id = :award_id"), award._asdict()
        )
    if moving:
        log.info("moved %d awards to the survivors of merged persons", len(moving))
    return len(moving)

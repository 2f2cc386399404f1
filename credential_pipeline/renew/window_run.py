"""All of a window in one call, as the command line does it: remind, plan, carry out what is approved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.renew.due import due_in, remind, windows
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.renew.waiting import still_blocked, still_waiting
from credential_pipeline.runtime import Runtime


@dataclass(frozen=True)
class WindowRun:
    """What came of a window.

    Attributes:
        as_of: the instant of this call.
        expiring: credentials that end in it when the call began, by achievement.
        renewable: of those, the ones that the catalogue lets be renewed.
        reminded: messages put into the outbox by this call.
        planned: renewals in the plans that stand and that this call found open.
        renewed: credentials issued by this call.
        stale: lines that had gone stale and were held.
        blocked: why renewals wait -> how many.
        waiting: plans that need signatures -> how many renewals they would make.
    """

    as_of: datetime
    expiring: dict[str, int]
    renewable: dict[str, int]
    reminded: int
    planned: int
    renewed: int
    stale: int
    blocked: dict[str, int]
    waiting: dict[UUID, int]


def run_windows(runtime: Runtime, written: str, run_id: str, *, plan_only: bool = False) -> WindowRun:
    """Remind, plan and (unless `plan_only`) renew the windows of `2027-03` or `2027-03/0`, shard by shard.

    Raises:
        Terminal: no such window, no key that could sign, or an approval that does not hold.
    """
    engine, institution, as_of = runtime.engine, runtime.institution, runtime.as_of
    expiring, renewable = Counter[str](), Counter[str]()
    reminded = planned = 0
    waiting: dict[UUID, int] = {}
    done = ApplyResult(0, 0)
    of_all = windows(written)
    for position, of in enumerate(of_all):
        due = due_in(engine, institution, of)
        expiring.update(due.expiring)
        renewable.update(due.renewable)
        reminded += remind(engine, institution, of, as_of)
        found = plan_window(engine, institution, runtime.secrets, of, as_of, run_id, four_eyes=position == 0)
        planned += found.counts.get("renew", 0)
        if found.four_eyes and found.four_eyes.does_something:
            waiting[found.four_eyes.plan_id] = found.four_eyes.counts.get("renew", 0)
        if not plan_only:
            done += apply_window(
                engine, institution, runtime.secrets, runtime.signer, of, run_id, now=runtime.clock(),
                workers=runtime.workers,
            )  # fmt: skip
    with engine.connect() as connection:
        reasons = still_blocked(connection, of_all)
        # What a signature let through in the meantime waits no more.
        open_still = still_waiting(connection, list(waiting))
        waiting = {plan: number for plan, number in waiting.items() if plan in open_still}
    return WindowRun(
        as_of, dict(expiring), dict(renewable), reminded, planned, done.issued, done.stale, reasons, waiting
    )

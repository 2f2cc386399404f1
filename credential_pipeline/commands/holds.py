"""`hold list | release | reject`: awards that wait for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import click

from credential_pipeline.commands.common import common, finish

if TYPE_CHECKING:
    from credential_pipeline.issue.holds import Decision, Hold
    from credential_pipeline.settings import Settings

HELD_FOR = click.option("--held-for", metavar="REASON", help="Those that wait for this reason, such as no_name.")
ACHIEVEMENT = click.option("--achievement", help="Only those of this achievement.")
ACTION = click.option("--action", type=click.Choice(["create", "revoke"]), help="Only those that would do this.")


@click.group()
def hold() -> None:
    """Awards that wait for a person: list them, let them go, or turn them down."""


@hold.command("list")
@HELD_FOR
@ACHIEVEMENT
@ACTION
@click.option("--decided", is_flag=True, help="Those that somebody released or rejected, too.")
@common
def list_command(
    settings: Settings,
    as_json: bool,
    held_for: str | None,
    achievement: str | None,
    action: str | None,
    decided: bool,
) -> None:
    """List holds that wait, oldest first, with their reasons.

    Example: credential-pipeline hold list --held-for name_with_digits
    """
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.issue.holds import Choice, find_holds
    from credential_pipeline.runtime import open_runtime

    states = ("waiting", "released", "rejected") if decided else ("waiting",)
    with embedded_session(settings), open_runtime(settings) as runtime:
        found = find_holds(runtime.engine, Choice((), held_for, achievement, action), states)
    finish({"holds": _as_dicts(found)}, as_json, _as_text(found) or "nothing waits")


def _deciding(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--actor", required=True, help="Who decides; one of the institution's people, if it lists any."),
        click.option("--reason", required=True, help="Why; kept with the hold. No personal data."),
        ACTION,
        ACHIEVEMENT,
        HELD_FOR,
        click.argument("awards", nargs=-1, type=click.UUID, metavar="[HOLD]..."),
    ):
        command = option(command)
    return command


@hold.command("release")
@_deciding
@common
def release(settings: Settings, as_json: bool, **given: Any) -> None:
    """Let holds go: the next plan of their day makes what they held up, although the reason is still there.

    HOLD is the id that `hold list` shows. Instead: --held-for REASON, with --achievement if need be. What a document
    cannot be made without, and what needs a signed approval, cannot be released.

    Example: credential-pipeline hold release --held-for name_with_digits --reason 'the register says so' --actor rita
    """
    _decide(settings, as_json, "released", **given)


@hold.command("reject")
@_deciding
@common
def reject(settings: Settings, as_json: bool, **given: Any) -> None:
    """Turn holds down: nothing is made of them, whatever becomes of their reasons. They stay, with your reason.

    Example: credential-pipeline hold reject 3c5f0f7e-6f1b-5d0e-9a55-0f6f4d1f2c3b --reason 'not ours' --actor rita
    """
    _decide(settings, as_json, "rejected", **given)


def _decide(
    settings: Settings,
    as_json: bool,
    decision: Decision,
    awards: Sequence[UUID],
    held_for: str | None,
    achievement: str | None,
    action: str | None,
    reason: str,
    actor: str,
) -> None:
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.issue.holds import Choice, decide_holds
    from credential_pipeline.runtime import open_runtime

    with embedded_session(settings), open_runtime(settings) as runtime:
        decided = decide_holds(
            runtime.engine,
            runtime.institution,
            Choice(awards, held_for, achievement, action),
            decision,
            actor=actor,
            reason=reason,
            now=runtime.clock(),
            run_id=f"command-{uuid4()}",
        )
    after = "; the next plan of their day makes them" if decision == "released" and decided else ""
    finish(
        {"decision": decision, "holds": _as_dicts(decided)},
        as_json,
        f"{len(decided):,} {decision}{after}" if decided else "nothing was left to decide",
    )


def _as_dicts(holds: Sequence[Hold]) -> list[dict[str, Any]]:
    return [{**asdict(one), "opened_at": one.opened_at.isoformat()} for one in holds]


def _as_text(holds: Sequence[Hold]) -> str:
    lines = []
    for one in holds:
        told = "" if one.state == "waiting" else f"  {one.state} by {one.decided_by}: {one.decision_reason}"
        what = one.action if one.action != "create" else ""
        about = "  ".join(word for word in (one.achievement, one.occurrence, str(one.awarded_on), what) if word)
        lines.append(f"{one.award_id}  {about}  {', '.join(one.reasons)}{told}")
    return "\n".join(lines)


COMMANDS: tuple[click.Command, ...] = (hold,)

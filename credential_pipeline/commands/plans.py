"""`plan`, `prepare`, `approve`, `apply`: what would happen, who lets it, and letting it happen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from credential_pipeline.commands.common import Day, common, finish, say
from credential_pipeline.commands.publishing import publish_now

if TYPE_CHECKING:
    from credential_pipeline.issue.apply import Applied
    from credential_pipeline.issue.approve import Role
    from credential_pipeline.runtime import Runtime
    from credential_pipeline.settings import Settings


@contextmanager
def _runtime(settings: Settings, as_of: str | None = None) -> Iterator[Runtime]:
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.runtime import open_runtime

    instant = parse_instant(as_of) if as_of else None
    with embedded_session(settings), open_runtime(settings, as_of=instant) as runtime:
        yield runtime


@click.option("--day", type=Day(), help="The day the rows arrived on [today].")
@click.option("--as-of", help="The instant its credentials are dated with, e.g. 2026-01-31T12:00:00Z [now].")
@click.option("--actor", default="pipeline", show_default=True, help="Who makes it, and so cannot approve it.")
@click.option("--lines", default=20, show_default=True, help="How many lines to show.")
@common
def _make(settings: Settings, as_json: bool, day: date | None, as_of: str | None, actor: str, lines: int) -> None:
    """Plan a day's awards: what would be issued, held and skipped, and why. Nothing is issued.

    Two plans a day: one that the catalogue lets through, and one of `four_eyes` achievements, which waits for signed
    approvals. Made twice with one --as-of it has the same hash; while nothing of it was applied and nothing it cites
    has changed, the plan that was made first stands, with its own instant.

    Example: credential-pipeline plan --day 2026-01-31
    """
    from sqlalchemy import text

    from credential_pipeline.errors import Terminal
    from credential_pipeline.issue.earn import earn_batch
    from credential_pipeline.issue.plan import plan_day
    from credential_pipeline.issue.show import as_text, describe_plan

    run_id = f"command-{uuid4()}"
    with _runtime(settings, as_of) as runtime:
        wanted, institution = day or runtime.today, runtime.institution
        with runtime.engine.connect() as connection:
            offered = "select exists (select from landed.batch_file where day = :day)"
            if not connection.scalar(text(offered), {"day": wanted}):
                raise Terminal(
                    f"no rows have arrived on {wanted}: materialize the assets up to `awards` of that day in Dagster, "
                    "or let `credential-pipeline run` take the day's batch through"
                )
        earn_batch(runtime.engine, institution, wanted, run_id)
        made = plan_day(
            runtime.engine, institution, runtime.secrets, wanted, runtime.as_of, run_id, created_by=actor.strip()
        )
        plans = [plan for plan in (made.plan_id, made.waiting[0] if made.waiting else None) if plan]
        with runtime.engine.connect() as connection:
            told = [describe_plan(connection, institution, plan, runtime.clock(), lines=lines) for plan in plans]
    result = {"day": str(wanted), "plans": told}
    finish(result, as_json, "\n\n".join(map(as_text, told)) or f"{wanted}: nothing to plan")


@click.pass_context
def _alone(context: click.Context, /, **options: Any) -> None:
    if context.invoked_subcommand is None:
        _make(**options)


plan = click.Group(
    "plan",
    callback=_alone,
    params=list(reversed(getattr(_make, "__click_params__", []))),
    invoke_without_command=True,
    help=_make.__doc__,
)


@plan.command("list")
@click.option("--all", "everything", is_flag=True, help="Finished and stale ones, too.")
@click.option("--limit", default=50, show_default=True, help="At most so many, the newest.")
@common
def list_command(settings: Settings, as_json: bool, everything: bool, limit: int) -> None:
    """Plans that are not finished, and what they wait for.

    Example: credential-pipeline plan list
    """
    from credential_pipeline.issue.show import list_plans

    with _runtime(settings) as runtime, runtime.engine.connect() as connection:
        found = list_plans(connection, runtime.institution, runtime.clock(), everything=everything, limit=limit)
    lines = []
    for one in found:
        counts = ", ".join(f"{number:,} {action}" for action, number in sorted(one["counts"].items()))
        standing = f"{one['state']}; {one['waits_for']}" if one["waits_for"] else one["state"]
        lines.append(f"{one['plan']}  {one['kind']}  {one['scope']}  {counts}  {standing}")
    finish({"plans": found}, as_json, "\n".join(lines) or "no plan is open")


@plan.command("show")
@click.argument("plan_name", metavar="PLAN")
@click.option("--lines", default=20, show_default=True, help="How many lines to show.")
@click.option("--facts", is_flag=True, help="Names and identifiers of the persons, too.")
@common
def show_command(settings: Settings, as_json: bool, plan_name: str, lines: int, facts: bool) -> None:
    """Show a plan: its hash, counts, reasons, approvals, and its lines beside what is issued.

    PLAN is its id, or the first 8 characters of it or more.

    Example: credential-pipeline plan show 0d5b7e51 --facts
    """
    from credential_pipeline.issue.show import as_text, describe_plan, find_plan

    with _runtime(settings) as runtime, runtime.engine.connect() as connection:
        found = describe_plan(
            connection, runtime.institution, find_plan(connection, plan_name), runtime.clock(), lines=lines, facts=facts
        )
    finish(found, as_json, as_text(found))


@click.command()
@click.argument("plan_name", metavar="PLAN")
@click.option("--approver", required=True, help="Your id among the people of institution.yaml.")
@click.option("--signature", type=click.File(), help="Your signature over the plan's hash, made elsewhere; - is stdin.")
@click.option("--key", type=click.Path(path_type=Path), help="Sign here with ssh-keygen and this key (or its .pub).")
@common
def approve(settings: Settings, as_json: bool, plan_name: str, approver: str, signature: Any, key: Path | None) -> None:
    """Let a plan through by an SSH signature over its hash; it may be applied until the approval expires.

    Where your key is elsewhere, sign there: printf %s HASH | ssh-keygen -Y sign -n plan@credential-pipeline -f KEY

    Example: credential-pipeline approve 0d5b7e51 --approver rita --key ~/.ssh/id_ed25519
    """
    _sign(settings, as_json, plan_name, "approver", approver, signature, key)


@click.command()
@click.argument("plan_name", metavar="PLAN")
@click.option("--preparer", required=True, help="Your id among the people of institution.yaml.")
@click.option("--signature", type=click.File(), help="Your signature over the plan's hash, made elsewhere; - is stdin.")
@click.option("--key", type=click.Path(path_type=Path), help="Sign here with ssh-keygen and this key (or its .pub).")
@common
def prepare(settings: Settings, as_json: bool, plan_name: str, preparer: str, signature: Any, key: Path | None) -> None:
    """Sign a plan as the one who prepared it: somebody else has to approve it then.

    Example: credential-pipeline prepare 0d5b7e51 --preparer pia --key ~/.ssh/id_ed25519
    """
    _sign(settings, as_json, plan_name, "preparer", preparer, signature, key)


def _sign(
    settings: Settings, as_json: bool, plan_name: str, role: Role, person: str, signature: Any, key: Path | None
) -> None:
    from credential_pipeline.issue.approve import NAMESPACE
    from credential_pipeline.issue.approve import approve as accept_approver
    from credential_pipeline.issue.approve import prepare as accept_preparer
    from credential_pipeline.issue.show import as_text, describe_plan, find_plan

    with _runtime(settings) as runtime:
        with runtime.engine.connect() as connection:
            plan_id = find_plan(connection, plan_name)
            shown = describe_plan(connection, runtime.institution, plan_id, runtime.clock())
        if (signature is None) == (key is None):
            raise click.UsageError(
                "give --signature FILE or --key FILE, one of them. To sign elsewhere:\n"
                f"  printf %s {shown['hash']} | ssh-keygen -Y sign -n {NAMESPACE} -f KEY"
            )
        say(as_text(shown))
        given = signature.read() if key is None else _by_ssh_keygen(key, shown["hash"], NAMESPACE)
        accept = accept_approver if role == "approver" else accept_preparer
        signed = accept(
            runtime.engine, runtime.institution, plan_id, person, given, runtime.clock(), f"command-{uuid4()}"
        )
    until = f" until {signed.expires_at.isoformat()}" if signed.expires_at else ""
    done = "approved" if role == "approver" else "prepared"
    finish(
        {
            "plan": str(plan_id),
            "hash": signed.hash.hex(),
            done: True,
            "by": signed.person,
            "key": signed.fingerprint,
            "expires_at": signed.expires_at.isoformat() if signed.expires_at else None,
        },
        as_json,
        f"plan {plan_id} is {done} by {signed.person} ({signed.fingerprint}){until}",
    )


def _by_ssh_keygen(key: Path, plan_hash: str, namespace: str) -> str:
    """Sign as ssh does, with its agent, its prompts and its hardware: no private key comes into this process."""
    from credential_pipeline.errors import Terminal

    try:
        made = subprocess.run(  # noqa: S603 - our own argument list, no shell
            ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(key)],  # noqa: S607 - the one on PATH
            input=plan_hash,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise Terminal("ssh-keygen is not installed here: sign elsewhere and give --signature FILE") from error
    if made.returncode:
        raise Terminal(f"ssh-keygen did not sign with {key}: see what it says above; nothing was approved")
    return made.stdout


@click.command("apply")
@click.argument("plan_names", nargs=-1, metavar="[PLAN]...")
@click.option(
    "--publish/--no-publish",
    default=True,
    show_default=True,
    help="Publish what changed at once, or with the next run.",
)
@common
def apply_command(settings: Settings, as_json: bool, plan_names: tuple[str, ...], publish: bool) -> None:
    """Carry out plans that are approved: these, or all of them. What is done is not done twice.

    Approvals are checked again. A plan that may not be applied is refused with the reason, holds up no other, and
    makes the exit code 1.

    Example: credential-pipeline apply 0d5b7e51
    """
    from credential_pipeline.issue.apply import apply_approved
    from credential_pipeline.issue.show import find_plan

    run_id = f"command-{uuid4()}"
    with _runtime(settings) as runtime:
        with runtime.engine.connect() as connection:
            named = [find_plan(connection, name) for name in plan_names]
        applied = apply_approved(
            runtime.engine, runtime.institution, runtime.secrets, runtime.signer, run_id,
            now=runtime.clock(), plan_ids=named or None, workers=runtime.workers,
        )  # fmt: skip
        published = publish_now(runtime, run_id) if publish and (applied.issued or applied.moved) else None
    result = {
        "plans": {
            str(one): {"issued": did.issued, "stale": did.stale, "moved": did.moved}
            for one, did in applied.results.items()
        },
        "issued": applied.issued,
        "stale": applied.stale,
        "moved": applied.moved,
        "refused": {str(one): why for one, why in applied.refused.items()},
        "published": published,
    }
    finish(result, as_json, _told(applied, published), in_order=not applied.refused and published is not False)


def _told(applied: Applied, published: bool | None) -> str:
    lines = []
    for one, did in applied.results.items():
        stale = f", {did.stale:,} stale and held" if did.stale else ""
        lines.append(f"plan {one}: {did.issued:,} issued, {did.moved:,} states changed{stale}")
    lines += [f"refused: {why}" for why in applied.refused.values()]
    if published is None and (applied.issued or applied.moved):
        lines.append("published with the next run")
    return "\n".join(lines) or "no approved plan is open"


COMMANDS: tuple[click.Command, ...] = (plan, prepare, approve, apply_command)

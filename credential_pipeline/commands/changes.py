"""`revoke`, `suspend`, `reinstate`, `correct`: changes to credentials that exist."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID, uuid4

import click

from credential_pipeline.commands.common import Day, common, finish
from credential_pipeline.commands.publishing import publish_now

if TYPE_CHECKING:
    from credential_pipeline.issue.change import Changed, Office, Order
    from credential_pipeline.runtime import Runtime
    from credential_pipeline.settings import Settings

SHARED = (
    click.option("--file", "file", type=click.Path(path_type=Path), help="A CSV file instead of arguments."),
    click.option("--column", help="The file's column that names the credentials [credential, public_id, url or id]."),
    click.option("--reason", required=True, help="Why; kept in the ledger, never published. No personal data."),
    click.option("--actor", required=True, help="Who says so; one of the institution's people, if it lists any."),
    click.option("--dry-run", is_flag=True, help="Show what would happen; nothing is stored."),
    click.option(
        "--publish/--no-publish",
        default=True,
        show_default=True,
        help="Publish what changed at once, or with the next run.",
    ),
)

QUERY = (
    click.option("--achievement", multiple=True, help="Credentials of this achievement; may be repeated."),
    click.option("--awarded-from", type=Day(), help="Awarded on this day or later."),
    click.option("--awarded-to", type=Day(), help="Awarded on this day or earlier."),
    click.option("--key", help="Signed by this key, such as key-1."),
    click.option("--plan", type=click.UUID, help="Made by this plan."),
    click.option("--source-key", help="Of the person with this SOURCE:KEY."),
)


def _with(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _mover(kind: str, summary: str, more: str) -> click.Command:
    @_with(QUERY)
    @_with(SHARED)
    @common
    def mover(
        settings: Settings,
        as_json: bool,
        credentials: tuple[str, ...],
        file: Path | None,
        column: str | None,
        achievement: tuple[str, ...],
        awarded_from: date | None,
        awarded_to: date | None,
        key: str | None,
        plan: UUID | None,
        source_key: str | None,
        **given: Any,
    ) -> None:
        from credential_pipeline.issue.change import change
        from credential_pipeline.issue.select import Query, named, names_of

        names = [*named(credentials), *(names_of(file, column) if file else ())]
        query = Query(achievement, awarded_from, awarded_to, key, plan, source_key)
        _run(settings, as_json, kind, given, lambda office, order: change(office, order, names, query))

    mover.__doc__ = (
        f"{summary}\n\nCREDENTIAL is a credential_id, a public id or a URL. Instead of naming them: --file, one a line "
        "or in a column, or a query by the options below, all of which have to hold. Up to "
        f"policies.direct_change_limit credentials are changed at once, more wait for a signed approval. {more}\n\n"
        f"Example: credential-pipeline {kind} 2232bu6jzjvgeoxemxaoovoyby --reason 'exam annulled' --actor registrar"
    )
    return click.command(kind)(click.argument("credentials", nargs=-1, metavar="[CREDENTIAL]...")(mover))


def _result(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        result, equals, shown = value.partition("=")
        if not equals or not result or not shown.strip() or result in found:
            raise click.BadParameter(f"{value!r}: write each result once, as ID=VALUE", param=parameter)
        found[result] = shown
    return found


@click.command()
@click.argument("credential", required=False)
@click.option("--name", help="The recipient's name as it should be.")
@click.option(
    "--result", "results", multiple=True, callback=_result, metavar="ID=VALUE", help="A result as it should be."
)
@click.option("--awarded-on", type=Day(), help="The day it was earned on.")
@click.option("--valid-until", type=Day(), help="The day it ends as that day begins, in the institution's time zone.")
@_with(SHARED)
@common
def correct(
    settings: Settings,
    as_json: bool,
    credential: str | None,
    name: str | None,
    results: dict[str, str],
    awarded_on: date | None,
    valid_until: date | None,
    file: Path | None,
    column: str | None,
    **given: Any,
) -> None:
    """Correct a name, a result or a date: a new version takes the credential's place.

    What is not given stays as it is, the day of the award too. A file has the columns `credential` and, of `name`,
    `awarded_on`, `valid_until` and `result:ID`, those that are corrected; an empty cell keeps what is there.

    Example: credential-pipeline correct 2232bu6jzjvgeoxemxaoovoyby --result grade=A --reason regraded --actor registrar
    """
    from credential_pipeline.issue.correct import Correction, corrections_of
    from credential_pipeline.issue.correct import correct as carry_out
    from credential_pipeline.issue.select import Named

    members = any(member is not None for member in (name, awarded_on, valid_until)) or bool(results)
    if (credential is None) == (file is None) or (file is not None and members):
        raise click.UsageError("give a CREDENTIAL and what is right about it, or --file with a line for each; one way")
    if credential is not None and not members:
        raise click.UsageError("say what is right: --name, --result, --awarded-on or --valid-until")
    if credential is not None:
        wanted = [Correction(Named(credential, "argument"), name, awarded_on, valid_until, results)]
    else:
        assert file is not None  # noqa: S101 - for the type checker
        wanted = corrections_of(file, column)
    _run(settings, as_json, "correct", given, lambda office, order: carry_out(office, order, wanted))


def _run(
    settings: Settings, as_json: bool, kind: str, given: dict[str, Any], act: Callable[[Office, Order], Changed]
) -> NoReturn:
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.issue.change import Office, Order
    from credential_pipeline.runtime import open_runtime

    with ExitStack() as opened:
        opened.enter_context(embedded_session(settings))
        runtime = opened.enter_context(open_runtime(settings))
        order = Order(kind, given["reason"], given["actor"], runtime.as_of, f"command-{uuid4()}", given["dry_run"])
        changed = act(Office(runtime.engine, runtime.institution, runtime.secrets, runtime.signer), order)
        published = None
        if changed.done and given["publish"]:
            published = publish_now(runtime, order.run_id)
        successors = _successors(runtime, changed) if kind == "correct" and changed.done else {}
    finish(
        _as_dict(kind, changed, successors, published),
        as_json,
        _as_text(kind, changed, successors, published),
        in_order=changed.in_order and published is not False,
    )


def _successors(runtime: Runtime, changed: Changed) -> dict[str, str]:
    """URL of a corrected credential -> URL of the version that took its place, for those that are shown."""
    from sqlalchemy import text

    from credential_pipeline.institution.describe import credential_url

    with runtime.engine.connect() as connection:
        rows = connection.execute(
            text(
                "select p.public_id, c.public_id from ledger.plan_line l"
                " join ledger.credential c on c.plan_id = l.plan_id and c.ordinal = l.ordinal"
                " join ledger.credential p on p.credential_id = l.prior_id"
                " where l.plan_id = :plan and l.prior_id = any(:shown)"
            ),
            {"plan": changed.plan_id, "shown": [line.credential_id for line in changed.draft.shown]},
        )
        return {
            credential_url(runtime.institution, prior): credential_url(runtime.institution, by) for prior, by in rows
        }


def _as_dict(kind: str, changed: Changed, successors: dict[str, str], published: bool | None) -> dict[str, Any]:
    draft = changed.draft
    return {
        "kind": kind,
        "state": changed.state,
        "plan": changed.plan_id,
        "hash": changed.hash.hex() if changed.hash else None,
        "replaced_plan": changed.replaced,
        "scope": draft.scope,
        "planned": draft.doing,
        "done": changed.done,
        "already": draft.already,
        "changed_meanwhile": changed.stale,
        "refused": dict(draft.refused),
        "counts": [
            {"achievement": achievement, "before": before, "after": after, "credentials": number}
            for (achievement, before, after), number in sorted(draft.counts.items())
        ],
        "lines": [
            {
                "credential_id": line.credential_id,
                "url": line.url,
                "achievement": line.achievement,
                "before": line.before,
                "after": line.after,
                "changes": line.changes,
                "superseded_by": successors.get(line.url),
            }
            for line in draft.shown
        ],
        "published": published,
    }


def _as_text(kind: str, changed: Changed, successors: dict[str, str], published: bool | None) -> str:
    draft = changed.draft
    lines = []
    if changed.plan_id is not None:
        lines.append(f"plan {changed.plan_id}  {draft.scope}")
    if changed.hash is not None:
        lines.append(f"hash {changed.hash.hex()}")
    for (achievement, before, after), number in sorted(draft.counts.items()):
        lines.append(f"  {number:>8,}  {achievement}: {before} -> {after}")
    for line in draft.shown:
        lines.append(f"  {line.url}  {line.achievement}  {line.before} -> {line.after}")
        lines.extend(f"      {member}: {old or '(none)'} -> {new}" for member, (old, new) in line.changes.items())
        if line.url in successors:
            lines.append(f"      now {successors[line.url]}")
    if draft.doing > len(draft.shown):
        lines.append(f"  ... and {draft.doing - len(draft.shown):,} more")
    lines.extend(f"refused {number:>6,}  {why}" for why, number in draft.refused.items())
    if draft.already:
        lines.append(f"{draft.already:,} done before")
    if changed.stale:
        lines.append(
            f"{changed.stale:,} not done: they changed in the meantime; look at them and give the command again"
        )
    if changed.replaced and changed.state != "dry_run":
        lines.append(f"plan {changed.replaced} is set aside: this one takes its place")
    lines.append(_ending(kind, changed, published))
    return "\n".join(lines)


def _ending(kind: str, changed: Changed, published: bool | None) -> str:
    if changed.state == "nothing":
        return f"{kind}: nothing to do"
    if changed.state == "dry_run":
        return f"{kind}: {changed.draft.doing:,} would be changed; nothing was stored"
    if changed.state == "waiting":
        return (
            f"{kind}: {changed.draft.doing:,} wait for a signed approval of the plan: "
            f"credential-pipeline approve {changed.plan_id}"
        )
    told = "published" if published else "not published" if published is False else "published with the next run"
    return f"{kind}: {changed.done:,} done, {told}"


COMMANDS: tuple[click.Command, ...] = (
    _mover(
        "revoke",
        "Revoke credentials, for good.",
        "A superseded credential is revoked by that; the one that took its place is named.",
    ),
    _mover(
        "suspend",
        "Suspend credentials until they are reinstated or revoked.",
        "Only achievements with `status_purpose: suspension` can be suspended.",
    ),
    _mover("reinstate", "Lift the suspension of credentials.", "What is revoked stays revoked."),
    correct,
)

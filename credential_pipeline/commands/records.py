"""`erase`, `audit`: what leaves the ledger, and what stays in its log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from credential_pipeline.commands.common import common, finish, say
from credential_pipeline.settings import Settings

if TYPE_CHECKING:
    from credential_pipeline.report.leftovers import Search
    from credential_pipeline.runtime import Runtime


@click.command()
@click.argument("person", metavar="PERSON")
@click.option("--reason", help="Why, without the person's name: it is kept for good. A request's number is best.")
@click.option("--actor", help="Who does it, as the audit log shall name them.")
@click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing.")
@click.option("--prove", is_flag=True, help="Search database, site and home for what must be gone; exit 1 if found.")
@click.option("--as-of", help="The instant that states and status lists are signed at [now].")
@click.option("--seek", multiple=True, metavar="TEXT", help="With --prove: search for this too; may be repeated.")
@common
def erase(
    settings: Settings,
    as_json: bool,
    person: str,
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    prove: bool,
    as_of: str | None,
    seek: tuple[str, ...],
) -> None:
    """Erase a person from the database and from what is published; ids, hashes, states and events stay.

    PERSON is a person_id, SOURCE:KEY, or one of their credentials (credential_id, public id or URL). Publishes at the
    end, so that documents are gone, states say withdrawn and status bits are set when the command ends.

    Example: credential-pipeline erase lms:L001187 --reason "request 2026-17" --actor registrar --prove
    """
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.issue.erase import erase_person
    from credential_pipeline.runtime import open_runtime

    if seek and not prove:
        raise click.UsageError("--seek says what --prove searches for: give --prove too")
    if not dry_run and not (reason and actor):
        raise click.UsageError("an erasure is recorded with --reason TEXT and --actor ID; --dry-run needs neither")
    instant = parse_instant(as_of) if as_of else None
    with embedded_session(settings), open_runtime(settings, as_of=instant) as runtime:
        done = erase_person(
            runtime.engine,
            runtime.institution,
            runtime.secrets,
            person,
            reason=reason or "",
            actor=actor or "",
            run_id=_run_id("erase"),
            dry_run=dry_run,
        )
        paths = () if dry_run else _take_away(runtime, done.person_id)
        found = _search(runtime, [*(sought.text for sought in done.sought), *seek]) if prove else None
    result: dict[str, Any] = {
        "person_id": str(done.person_id),
        "dry_run": dry_run,
        "erased_before": done.before,
        "counts": dict(done.counts),
        "taken_away": [f"{settings.institution.base_url}/{path}" for path in paths],
    }
    if found is not None:
        result["search"] = _searched(found)
    in_order = found is None or dry_run or found.clean
    finish(result, as_json, "\n".join(_told(result)), in_order=in_order)


def _run_id(command: str) -> str:
    """Commands are no Dagster runs; what they write says which command it was, and when."""
    from credential_pipeline.runtime import system_clock

    return f"{command} {system_clock():%Y-%m-%dT%H:%M:%SZ}"


def _take_away(runtime: Runtime, person: Any) -> tuple[str, ...]:
    from credential_pipeline.publish.documents import recorded_keys
    from credential_pipeline.publish.publish import publish
    from credential_pipeline.publish.withdraw import delete_documents

    as_of = runtime.as_of
    publish(
        runtime.engine,
        runtime.institution,
        runtime.store,
        runtime.institution.targets.site,
        runtime.signer(as_of),
        recorded_keys(runtime.engine, runtime.institution),
        as_of,
        _run_id("erase"),
    )
    return delete_documents(runtime.engine, runtime.store, person)


def _search(runtime: Runtime, texts: list[str]) -> Search:
    from credential_pipeline.report.leftovers import search

    return search(runtime.engine, texts, store=runtime.store, folders=[runtime.settings.home / "dagster"])


def _searched(found: Search) -> dict[str, Any]:
    return {
        "clean": found.clean,
        "sought": found.sought,
        "too_short": found.too_short,
        "columns": found.columns,
        "objects": found.objects,
        "files": found.files,
        "leftovers": [str(leftover) for leftover in found.leftovers],
    }


def _told(result: dict[str, Any]) -> Iterator[str]:
    verb = "would empty" if result["dry_run"] else "emptied"
    yield f"person {result['person_id']}" + (" (erased before)" if result["erased_before"] else "")
    yield from (f"  {verb} {number:>6} {table}" for table, number in result["counts"].items())
    if not result["counts"]:
        yield "  nothing was left"
    if result["taken_away"]:
        yield "taken away; where a CDN stands in front, purge these there:"
        yield from (f"  {url}" for url in result["taken_away"])
    if (search := result.get("search")) is not None:
        yield (
            f"searched {search['columns']} columns, {search['objects']} objects and {search['files']} files"
            f" for {search['sought']} texts: {'nothing is left' if search['clean'] else 'look at these'}"
        )
        yield from (f"  {leftover}" for leftover in search["leftovers"])
        if search["too_short"]:
            yield f"  {search['too_short']} texts were too short to be sought by themselves"
        if not search["sought"]:
            yield "  nothing was sought: their texts are gone; give --seek TEXT"


@click.command()
@click.option("--since", help="Only from this day (institution's zone) or instant on.")
@click.option("--until", help="Only before this day or instant.")
@click.option("--subject", help="Only about this: credential:UUID, person:UUID, plan:UUID, key:KEY-ID, ...")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file [stdout].")
@common
def audit(
    settings: Settings,
    as_json: bool,
    since: str | None,
    until: str | None,
    subject: str | None,
    output: Path | None,
) -> None:
    """Export who did what, when and why, as JSON Lines: events of credentials and all other actions, in order.

    With --json and without --output, stdout is one JSON object with all entries.

    Example: credential-pipeline audit --since 2026-01-31 --output audit.jsonl
    """
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.report.audit import as_json_line, audit_entries
    from credential_pipeline.runtime import open_runtime

    zone = settings.institution.zone
    begins, ends = (_instant(value, zone) for value in (since, until))
    with embedded_session(settings), open_runtime(settings) as runtime:
        entries = audit_entries(runtime.engine, since=begins, until=ends, subject=subject)
        if output is not None:
            with output.open("w", encoding="utf-8") as stream:
                number = sum(1 for entry in entries if stream.write(as_json_line(entry) + "\n"))
            finish({"entries": number, "output": str(output)}, as_json, f"{number} entries: {output}")
        if as_json:
            finish({"entries": list(entries)}, True, "")
        number = 0
        for number, entry in enumerate(entries, 1):  # noqa: B007 - counted for the last line
            click.echo(as_json_line(entry))
    say(f"{number} entries")


def _instant(value: str | None, zone: Any) -> datetime | None:
    if value is None:
        return None
    from credential_pipeline.definitions import parse_instant

    try:
        return datetime.combine(date.fromisoformat(value), time(0), tzinfo=zone)
    except ValueError:
        return parse_instant(value)


COMMANDS: tuple[click.Command, ...] = (erase, audit)

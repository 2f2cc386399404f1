"""The command line: thin; each command calls one function of a stage and prints what it returns.

With `--json` the last line of stdout is one JSON object and everything else goes to stderr. Exit codes: 0 done and
in order, 1 done and something is not (invalid, set aside, not reconciled), 2 the command or configuration is wrong.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click

from credential_pipeline.commands import bench, campaigns, changes, holds, plans, records, verification
from credential_pipeline.commands.common import WRONG, Day, common, finish, say
from credential_pipeline.errors import PipelineError
from credential_pipeline.settings import Settings, institution_directory


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="credential-pipeline")
def commands() -> None:
    """Issue digital credentials out of LMS, SIS, HR and CRM data.

    Example: credential-pipeline run --institution samples/northfield
    """


@commands.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--id", "institution_id", help="The institution's id [the directory's name].")
@click.option("--json", "as_json", is_flag=True, help="Last line of stdout is one JSON object.")
def init(directory: Path, institution_id: str | None, as_json: bool) -> None:
    """Write a starter institution into DIRECTORY.

    Example: credential-pipeline init my_university
    """
    from credential_pipeline.institution.starter import write_starter

    files = write_starter(directory, id=institution_id)
    listed = "\n".join(f"  {path}" for path in files)
    finish(
        {"directory": str(directory), "files": [str(path) for path in files]},
        as_json,
        f"Wrote a starter institution:\n{listed}\nNext: edit institution.yaml, then\n"
        f"  credential-pipeline check --institution {directory}\n"
        f"  CREDENTIAL_PIPELINE_PASSPHRASE=... credential-pipeline run --institution {directory} --home DIR",
    )


@commands.command()
@click.option("--institution", type=click.Path(path_type=Path), help="Institution directory [samples/northfield].")
@click.option("--home", type=click.Path(path_type=Path), help="Nothing of it is read: accepted as everywhere.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the files instead, for editors.")
@click.option("--json", "as_json", is_flag=True, help="Last line of stdout is one JSON object.")
def check(institution: Path | None, home: Path | None, schema: bool, as_json: bool) -> None:  # noqa: ARG001 - `home`: see its help
    """Check an institution's files: every problem with file, line and remedy.

    Example: credential-pipeline check --institution my_university
    """
    from credential_pipeline.institution.load import json_schema, load_institution

    if schema:
        finish(json_schema(), True, "")
    found = load_institution(institution_directory(institution, os.environ))
    achievements = found.catalogue.achievements
    finish(
        {
            "institution": found.id,
            "did": found.issuer_did,
            "datasets": [dataset.name for dataset in found.datasets],
            "achievements": list(achievements),
            "catalogue_version": found.catalogue.version.hex(),
        },
        as_json,
        f"{found.id}: in order. {len(found.datasets)} datasets, {len(achievements)} achievements, "
        f"issuer {found.issuer_did}",
    )


@commands.command()
@click.option("--data", type=click.Path(path_type=Path), help="Data directory instead of the institution's own.")
@click.option("--day", type=Day(), help="The day the rows arrive on [today].")
@click.option("--as-of", help="The instant credentials are dated with, e.g. 2026-01-31T12:00:00Z [now].")
@common
def run(settings: Settings, as_json: bool, data: Path | None, day: date | None, as_of: str | None) -> None:
    """Run a day's batch: extract, gate, identify, issue, publish, report.

    Example: credential-pipeline run --institution samples/northfield --day 2026-01-31
    """
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.run import run_batch
    from credential_pipeline.run_summary import as_dict, as_text

    instant = parse_instant(as_of) if as_of else None
    with embedded_session(settings), progress_to(say):
        outcome = run_batch(settings, day=day, as_of=instant, data=data, tell=say)
    finish(as_dict(outcome), as_json, as_text(outcome), in_order=outcome.succeeded)


def progress_to(tell: Callable[[str], None]) -> Any:
    """A context in which the stages' progress lines are told and nothing else is chatty."""
    from credential_pipeline.run import telling

    warnings.simplefilter("ignore")
    return telling(tell)


@commands.command()
@click.option("--port", default=3000, show_default=True, help="Of the Dagster UI; the next free one when taken.")
@click.option(
    "--site-port", default=8000, show_default=True, help="Of the published site; the next free one when taken."
)
@common
def dev(settings: Settings, as_json: bool, port: int, site_port: int) -> None:
    """Dagster UI, daemon and the published site on loopback; one Ctrl-C ends all.

    Example: credential-pipeline dev --port 3000
    """
    from credential_pipeline.dev import run_dev
    from credential_pipeline.embedded_session import embedded_session

    with embedded_session(settings):
        code = run_dev(settings, port=port, site_port=site_port, tell=say)
    finish({"ended": True}, as_json, "", in_order=code == 0)


@commands.command()
@click.argument("name", metavar="NAME")
@common
def explain(settings: Settings, as_json: bool, name: str) -> None:
    """Tell where something comes from and what became of it, with states, times and runs.

    NAME is a credential (credential_id, public id or URL), a person (person_id or SOURCE:KEY), a source row (FILE:ROW,
    where 1 is the first row after the header, or a row hash), the batch of a day (YYYY-MM-DD), or a plan_id.

    Example: credential-pipeline explain lms/completions.csv:17
    """
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.report.explain import as_text
    from credential_pipeline.report.explain import explain as chain_of
    from credential_pipeline.runtime import open_runtime

    with embedded_session(settings), open_runtime(settings) as runtime:
        chain = chain_of(runtime.engine, name)
    finish(chain, as_json, "" if as_json else as_text(chain))


@commands.command("reconcile")
@click.option("--day", type=Day(), help="Only this day's scope [every day, and everything issued].")
@click.option("--full", is_flag=True, help="Read every document and object [a sample of 1,000, and all status lists].")
@common
def reconcile_command(settings: Settings, as_json: bool, day: date | None, full: bool) -> None:
    """Check that everything adds up, from landed rows to published objects; exit 1 when it does not.

    Example: credential-pipeline reconcile --day 2026-01-31
    """
    from credential_pipeline.embedded_session import embedded_session
    from credential_pipeline.report.reconcile import SAMPLE, reconcile
    from credential_pipeline.runtime import open_runtime

    with embedded_session(settings), open_runtime(settings) as runtime:
        found = reconcile(
            runtime.engine,
            day,
            read_object=runtime.store.get,
            list_objects=runtime.store.list,
            sample=None if full else SAMPLE,
        )
    text = "\n".join(map(str, found.differences)) or "everything adds up"
    finish(asdict(found), as_json, text, in_order=found.balanced)


@commands.command("database-url")
@click.option("--stop", is_flag=True, help="Stop the embedded server instead.")
@common
def database_url_command(settings: Settings, as_json: bool, stop: bool) -> None:
    """Print the database's URL for psql and other tools; starts the embedded server and leaves it running.

    Example: psql "$(credential-pipeline database-url)"
    """
    from credential_pipeline.runtime import prepare_database
    from credential_pipeline.store import embedded

    if stop:
        embedded.stop(settings.home / "postgres")
        finish({"stopped": True}, as_json, "stopped")
    url = prepare_database(settings)
    finish({"database_url": url}, as_json, "" if as_json else url)


for room in (verification, plans, holds, changes, campaigns, records, bench):
    for command in room.COMMANDS:
        commands.add_command(command)


def main() -> NoReturn:
    """Run a command; an error of ours is a sentence, not a traceback."""
    logging.captureWarnings(True)
    try:
        commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        say("stopped")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG)
    except PipelineError as error:
        say(f"error: {error}")
        sys.exit(WRONG)
    except Exception as error:
        from sqlalchemy.exc import OperationalError  # 0.2 s of imports, which `--help` does without

        if not isinstance(error, OperationalError):
            raise
        # Dagster's own storage lies in the same server: when that goes away, this comes past its retries.
        say(
            f"error: the database stopped answering ({type(error.orig).__name__}); what was committed is not lost: "
            "see that the server runs, then give the same command again"
        )
        sys.exit(WRONG)
    sys.exit(0)

"""Verifying credentials of any kind from anywhere, and carrying them in images.

Belongs here: the commands `verify`, `bake` and `unbake`: options, printing, exit codes. Does not belong here: what is
checked (credential/verify.py) and how an image carries a credential (credential/baked.py).
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from credential_pipeline.commands.common import finish, say
from credential_pipeline.settings import institution_directory

if TYPE_CHECKING:
    from credential_pipeline.credential.report import Report

SHOWN = 1000
"""Of the refused, in the JSON at the end: a folder may hold a million. `--reports` has all."""
_JSON = click.option("--json", "as_json", is_flag=True, help="Last line of stdout is one JSON object.")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE|URL|DIR|-...")
@click.option(
    "--site", type=click.Path(path_type=Path, exists=True), help="A published folder to verify against, offline."
)
@click.option("--home", type=click.Path(path_type=Path), help="The same as --site with what this home published.")
@click.option("--institution", type=click.Path(path_type=Path), help="With --home: whose home it is.")
@click.option("--at", help="Verify as of this instant [now].")
@click.option("--workers", default=2, show_default=True, help="Processes for many credentials.")
@click.option(
    "--reports",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write each report to this file, one JSON a line.",
)
@click.option("--domain", help="What the proofs have to be made for; one made for any is refused without it.")
@click.option("--challenge", help="What the proofs have to answer; the same.")
@click.option("--allow-loopback", is_flag=True, help="Ask this machine too, also by plain http (development).")
@_JSON
def verify(
    sources: tuple[str, ...],
    site: Path | None,
    home: Path | None,
    institution: Path | None,
    at: str | None,
    workers: int,
    reports: Path | None,
    domain: str | None,
    challenge: str | None,
    allow_loopback: bool,
    as_json: bool,
) -> None:
    """Verify credentials: JSON, JWT, and SVG or PNG images that carry one; - is standard input.

    Both proofs (or the JWT's signature), issuer, key, status, state, dates, contexts and schema, each with its
    evidence; of a learner record each member too. Exit code 0 only when all are valid. The issuer's documents are read
    from --site or --home, or from the published folder that holds the file, or from the web.

    Example: credential-pipeline verify .local/site/credentials
    """
    from credential_pipeline.definitions import parse_instant
    from credential_pipeline.serve.verification import verify_sources

    now = parse_instant(at) if at else datetime.now(UTC)
    if site is None and home is not None:
        site = _published_folder(institution, home)
    told = _Told(sources)
    with _lines(reports) as lines:
        for name, report in verify_sources(
            sources,
            site=site,
            now=now,
            workers=workers,
            allow_loopback=allow_loopback,
            domain=domain,
            challenge=challenge,
            stdin=sys.stdin.buffer,
            passed_over=told.passed_over,
        ):
            told.tell(name, report)
            if lines is not None:
                lines.write(json.dumps({"source": name, **report.as_dict()}, ensure_ascii=False) + "\n")
    told.finish(as_json)


class _Told:
    """Counts the reports, tells what is worth a person's while, and keeps what the JSON at the end needs."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._named = {source for source in sources if not Path(source).is_dir()} | {"standard input"}
        self._in_full = len(sources) == 1
        self._verdicts: Counter[str] = Counter()
        self._refused: list[dict[str, Any]] = []
        self._reports: list[dict[str, Any]] = []
        self._passed_over: list[str] = []
        self._passed_over_count = 0

    def passed_over(self, file: str) -> None:
        self._passed_over_count += 1
        if len(self._passed_over) < SHOWN:
            self._passed_over.append(file)

    def tell(self, name: str, report: Report) -> None:
        self._verdicts[report.verdict] += 1
        if name in self._named:
            self._reports.append({"source": name, **report.as_dict()})
        if report.verdict != "valid":
            say(f"{report.verdict:<10} {name}: {report.reason}")
            if len(self._refused) < SHOWN:
                self._refused.append({"source": name, **report.as_dict()})
        elif name in self._named and self._in_full:
            _say_checks(report, "  ")

    def finish(self, as_json: bool) -> None:
        if self._passed_over_count:
            first = ", ".join(self._passed_over[:3]) + (", ..." if self._passed_over_count > 3 else "")
            say(f"{self._passed_over_count} of other kinds were not looked at: {first}")
        verdicts = dict(self._verdicts)
        told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items())) or "nothing to verify"
        result = {"verified": self._verdicts.total(), "verdicts": verdicts, "refused": self._refused}
        if self._reports:
            result["reports"] = self._reports
        if self._passed_over:
            result["passed_over"] = self._passed_over
        finish(result, as_json, told, in_order=verdicts.keys() == {"valid"})


def _say_checks(report: Report, indent: str) -> None:
    for check in report.checks:
        say(f"{indent}{check.outcome:<8} {check.name}: {check.detail}")
    for member in report.members:
        say(f"{indent}{member.report.verdict:<8} {member.where}: {member.id}")
        _say_checks(member.report, indent + "    ")


@contextmanager
def _lines(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with path.open("w", encoding="utf-8") as file:
        yield file


def _published_folder(institution: Path | None, home: Path) -> Path:
    from credential_pipeline.institution.load import load_institution
    from credential_pipeline.store.objects import folder_of

    target = load_institution(institution_directory(institution, os.environ)).targets.site
    folder = folder_of(target, home)
    if folder is None or not folder.is_dir():
        raise click.UsageError(f"nothing is published in a folder of {home} (the target is {target}); use --site DIR")
    return folder


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("credentials", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the images go.")
@_JSON
def bake(image: Path, credentials: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Write IMAGE (SVG or PNG) once for each of CREDENTIALS, carrying it: a baked badge (Open Badges 3.0, 5.3).

    Example: credential-pipeline bake badge.svg 2232bu6jzjvgeoxemxaoovoyby.json --output badges
    """
    from credential_pipeline.credential.baked import ImageError, carrier, kind_of

    written = []
    file = image
    try:
        data = image.read_bytes()
        prepared, suffix = carrier(data), f".{(kind_of(data) or '').lower()}"
        output.mkdir(parents=True, exist_ok=True)
        for file in credentials:
            baked = output / f"{file.stem}{suffix}"
            baked.write_bytes(prepared.bake(file.read_bytes()))
            written.append(str(baked))
    except (ImageError, OSError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    finish({"baked": len(written), "files": written}, as_json, "\n".join(written))


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@_JSON
def unbake(image: Path, as_json: bool) -> None:
    """Print the credential that IMAGE (SVG or PNG) carries; `verify` reads images as they are.

    Example: credential-pipeline unbake badge.svg
    """
    from credential_pipeline.credential.baked import ImageError, extract
    from credential_pipeline.serve.sources import read_file

    try:
        credential = extract(read_file(image)).decode("utf-8")
    except (ImageError, OSError) as error:
        raise click.UsageError(f"{image}: {error}") from error
    finish({"credential": credential}, as_json, "" if as_json else credential)


COMMANDS: tuple[click.Command, ...] = (verify, bake, unbake)

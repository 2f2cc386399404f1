"""`bench proofs`: what signing, verifying and storing cost on this machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from credential_pipeline.commands.common import finish, say


@click.group()
def bench() -> None:
    """Measure what this machine does, beside what it must do at least.

    Example: credential-pipeline bench proofs --count 20000
    """


@bench.command()
@click.option("--count", type=click.IntRange(min=50), help="How many credentials [20000; with --store 1000000].")
@click.option("--store", is_flag=True, help="Also sign, check, compress and record as many, in a database.")
@click.option("--json", "as_json", is_flag=True, help="Last line of stdout is one JSON object.")
def proofs(count: int | None, store: bool, as_json: bool) -> None:
    """Sign and verify made-up credentials of 3 kB on one core; no database, no network, no secrets.

    Rates are of CPU time, ratios of one run: signing beside pyld, and beside hashing and signing alone.

    Example: credential-pipeline bench proofs --count 20000 --json
    """
    from credential_pipeline.bench.proofs import as_table, measure_proofs

    found: dict[str, Any] = measure_proofs(min(count or 20_000, 100_000), tell=say)
    if store:
        found |= _measure_store()(count or 1_000_000, tell=say)
    finish(found, as_json, as_table(found))


def _measure_store() -> Callable[..., dict[str, Any]]:
    if not find_spec("credential_pipeline.bench.store"):
        raise click.UsageError("recording cannot be measured by this version: leave --store out")
    made: Callable[..., dict[str, Any]] = import_module("credential_pipeline.bench.store").measure_store
    return made


COMMANDS = (bench,)

"""`make torture`: ordeal after ordeal, each in databases of its own, for as long as one likes.

Belongs here: the loop, what it tells, and where the worlds lie. Does not belong here: an ordeal (nursery.py) and what
is compared (compare.py). A failure names its seed, which draws the same moments again; what they hit is up to the
machine as well, so that it may take some rounds of it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from sqlalchemy import text

from credential_pipeline.store import embedded
from credential_pipeline.store.postgres import migrate, open_engine
from credential_pipeline_tests.store.seaweed import S3Server, new_bucket, running_s3_server
from credential_pipeline_tests.torture.academy import write_academy
from credential_pipeline_tests.torture.compare import account_of, differences, twice, unbalanced
from credential_pipeline_tests.torture.nursery import Failed, Ordeal, Tale, suffer
from credential_pipeline_tests.torture.workers import World


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 at the first difference."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="no ordeal begins after this long")
    parser.add_argument("--kills", type=int, default=100, help="of workers at work, in an ordeal")
    parser.add_argument("--seed", type=int, default=1, help="of the first ordeal; each one has the next")
    parser.add_argument(
        "--cuts", type=float, default=0.1, help="the share of deaths that are a lost connection instead"
    )
    given = parser.parse_args(arguments)
    top = Path(tempfile.mkdtemp(prefix="credential-pipeline-torture-"))
    started, seed, died = time.monotonic(), given.seed, 0
    try:
        with running_s3_server() as s3:
            server = embedded.ensure_running(top / "postgres", durable=False)
            while seed == given.seed or time.monotonic() - started < given.seconds:
                tale = _ordeal(server, s3, top / f"seed-{seed}", seed, given.kills, given.cuts)
                died += tale.kills.total()
                seed += 1
    except Failed as error:
        print(
            f"{error}\nFAILED: repeat it with `make torture SEED={seed} KILLS={given.kills} CUTS={given.cuts}`",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if (top / "postgres").exists():
            embedded.stop(top / "postgres", mode="immediate")
        shutil.rmtree(top, ignore_errors=True)
    seconds = time.monotonic() - started
    print(f"{died} deaths at work in {seed - given.seed} ordeals, {seconds:.0f} s: each came to what nobody disturbed")
    return 0


def _ordeal(server: embedded.Server, s3: S3Server, top: Path, seed: int, kills: int, cuts: float) -> Tale:
    started = time.monotonic()

    def tell(tale: Tale) -> None:
        stages = ", ".join(f"{stage} {n}" for stage, n in sorted(tale.kills.items()))
        print(
            f"seed {seed}, month {tale.months}, {time.monotonic() - started:4.0f} s: {tale.kills.total()} deaths at"
            f" work ({stages}), {tale.idle} at what was done, {tale.cut} connections cut",
            flush=True,
        )

    academy = write_academy(top / "academy")
    disturbed, undisturbed = (
        World(
            academy, top / name, top / "data", top / "secrets", _new_database(server, f"{name}_{seed}"),
            f"s3://{new_bucket(s3).name}/site", s3.options,
        )
        for name in ("disturbed", "undisturbed")
    )  # fmt: skip
    superuser_url = server.url(f"disturbed_{seed}", embedded.SUPERUSER)
    tale = suffer(Ordeal(seed, kills, disturbed, undisturbed, superuser_url, cuts), tell)
    if wrong := _judge(disturbed, undisturbed):
        raise Failed("\n".join(wrong))
    shutil.rmtree(top)
    return tale


def _judge(disturbed: World, undisturbed: World) -> list[str]:
    accounts, wrong = [], []
    for world in (disturbed, undisturbed):
        engine, stores = open_engine(world.database_url), world.stores()
        with engine.connect() as connection:
            accounts.append(account_of(connection, stores))
            wrong += twice(connection)
        wrong += unbalanced(engine, stores)
        engine.dispose()
    return wrong + differences(*accounts)


def _new_database(server: embedded.Server, name: str) -> str:
    """A migrated database; the URL of the application's role."""
    with psycopg.connect(server.url("postgres", embedded.SUPERUSER), autocommit=True) as admin:
        admin.execute(f"create database {name} owner {embedded.OWNER_ROLE}")
    owner = open_engine(server.url(name, embedded.OWNER_ROLE))
    migrate(owner, application_role=embedded.APPLICATION_ROLE)
    with owner.begin() as connection:
        connection.execute(text(f"grant create on schema public to {embedded.APPLICATION_ROLE}"))
    owner.dispose()
    return server.url(name, embedded.APPLICATION_ROLE)


if __name__ == "__main__":
    sys.exit(main())

"""What renewing many credentials costs: `python -m credential_pipeline_tests.bench_renewals --people 20000`.

Makes that many credentials that end in the next twelve months, in a ledger of its own, then reminds, plans and renews
them window by window, shard by shard (or, with `--reissue`, plans and re-issues all that the first key signed). With
`--backfill` a Dagster daemon does it, as four runs, and `--kill 2` kills a run twice on the way. `--without-signing`
puts a constant in the place of both proofs and verifies nothing: what is left is the ledger's own share. The last line
is one JSON object. Belongs here: options, parts, seconds. Does not belong here: limits to pass.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from credential_pipeline.issue import apply as applying
from credential_pipeline.issue import chunks, issuing
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.key_periods import rotate_key
from credential_pipeline.issue.reissue import plan_reissue
from credential_pipeline.renew.due import remind, windows
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline.settings import Settings, load_settings
from credential_pipeline.store import embedded
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key
from credential_pipeline_tests.bench_backfill import renew_by_backfill
from credential_pipeline_tests.bench_location import leave_out_signing
from credential_pipeline_tests.bench_memory import Peak
from credential_pipeline_tests.bench_school import RUN, School, write_school


def main() -> None:
    """Make, renew, print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--people", type=int, default=20_000, help="credentials, one a person [20000]")
    options.add_argument("--without-signing", action="store_true", help="the ledger's own share only")
    options.add_argument("--chunk", type=int, default=applying.CHUNK, help=f"lines a transaction [{applying.CHUNK}]")
    options.add_argument("--reissue", action="store_true", help="re-issue what a lost key signed, instead of renewing")
    options.add_argument("--backfill", action="store_true", help="as a Dagster backfill, by a daemon")
    options.add_argument("--kill", type=int, default=0, help="with --backfill: kill a run so often on the way")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-renewals-") as work:
        directory, home = write_school(Path(work) / "school"), Path(work) / "home"
        home.mkdir()
        settings = load_settings(institution=directory, home=home, environ={})
        try:
            told = bench(settings, given)
        finally:
            embedded.stop(home / "postgres", mode="immediate")
    print(json.dumps(told))


def bench(settings: Settings, given: argparse.Namespace) -> dict[str, Any]:
    """Everything but the server's end; what the last line says."""
    seconds = Counter[str]()
    now = datetime.now(UTC).replace(microsecond=0)
    with open_runtime(settings, as_of=now) as runtime:
        school = school_of(runtime, given.people, now.date())
        ensure_signing_key(runtime.engine, school.secrets, school.key_start)
        with timed(seconds, "made"):
            school.fill(runtime.engine)
        print(f"{given.people:,} credentials made in {seconds.pop('made'):.0f} s", flush=True)
        if given.backfill:
            return renew_by_backfill(settings, school, kill=given.kill, without_signing=given.without_signing)
        if given.without_signing:
            leave_out_signing()
        measure_parts(seconds)
        with Peak() as peak:
            started = time.monotonic()
            done = (reissue if given.reissue else renew)(runtime, school, given, seconds)
            took = time.monotonic() - started
    assert done == given.people, (done, given.people)
    report(seconds, took, done)
    return {
        "people": done, "seconds": round(took, 1), "peak_rss_mb": round(peak.mib),
        **({"own_share_seconds": round(took, 1)} if given.without_signing else {}),
        "us_a_credential": {part.strip(): round(1e6 * value / done) for part, value in seconds.items()},
    }  # fmt: skip


def school_of(runtime: Runtime, people: int, today: date) -> School:
    """Credentials that end from the next month on."""
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    secrets = SecretsDirectory(runtime.settings.secrets, runtime.settings.passphrase.reveal())
    return School(runtime.institution, secrets, people, first)


def renew(runtime: Runtime, school: School, given: argparse.Namespace, seconds: Counter[str]) -> int:
    """Window by window, as a run of the backfill does; how many were renewed."""
    engine, institution, as_of, done = runtime.engine, runtime.institution, runtime.as_of, 0
    for month in school.months:
        for n, of in enumerate(windows(f"{month:%Y-%m}")):
            with timed(seconds, "remind"):
                remind(engine, institution, of, as_of)
            with timed(seconds, "plan"):
                plan_window(engine, institution, school.secrets, of, as_of, RUN, four_eyes=n == 0)
            with timed(seconds, "apply"):
                done += apply_window(
                    engine, institution, school.secrets, runtime.signer, of, RUN, now=as_of, chunk=given.chunk,
                    workers=runtime.workers,
                ).issued  # fmt: skip
        print(f"  {month:%Y-%m}  {done:>9,} renewed", flush=True)
    return done


def reissue(runtime: Runtime, school: School, given: argparse.Namespace, seconds: Counter[str]) -> int:
    """One plan of all that the first key signed; how many were issued by the next key."""
    engine, institution, as_of = runtime.engine, runtime.institution, runtime.as_of
    rotate_key(engine, school.secrets, as_of, actor="bench", reason="the laptop was stolen", run_id=RUN)
    with timed(seconds, "plan"):
        stored = plan_reissue(
            engine, institution, school.secrets, "key-1", as_of, RUN, actor="bench", reason="the laptop was stolen"
        )
    assert stored is not None
    print(f"  planned after {seconds['plan']:.1f} s", flush=True)
    with timed(seconds, "apply"):
        return apply_plan(
            engine, institution, school.secrets, runtime.signer, stored.plan_id, RUN, now=as_of, chunk=given.chunk,
            workers=runtime.workers,
        ).issued  # fmt: skip


def report(seconds: Counter[str], took: float, done: int) -> None:
    """Parts as a table; parts of apply are indented, the rest of it is waiting for workers."""
    print(
        f"\n{done:,} credentials: {took:.1f} s, {done / took:,.0f} a second, a million {took * 1e6 / done / 60:.1f} min"
    )
    for part, value in seconds.items():
        print(f"  {part:<34} {value:8.1f} s  {1e6 * value / done:9.0f} us a credential")


@contextmanager
def timed(seconds: Counter[str], part: str) -> Iterator[None]:
    """Add the block's time to a part."""
    started = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - started


def measure_parts(seconds: Counter[str]) -> None:
    """Put clocks around the steps of a chunk."""

    def clocked(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with timed(seconds, part):
                return work(*arguments, **options)

        return call

    for part, module, name in (
        ("  still planned", chunks, "_still_planned"), ("  stale", chunks, "hold_stale"),
        ("  record", issuing, "record"), ("  supersede", issuing, "supersede"), ("  mark", chunks, "_mark"),
    ):  # fmt: skip
        setattr(module, name, clocked(part, getattr(module, name)))


if __name__ == "__main__":
    main()

"""What a run costs in which nothing changed: `python -m credential_pipeline_tests.bench_unchanged --people 100000`.

Issues that many credentials from files, publishes them, and goes through all stages again: seconds by stage, and as one
JSON line. Belongs here: the plain functions of the stages, in the order of the flow. Does not belong here: start-up of
Dagster, and limits to pass. The first pass is timed too; of a million it takes most of an hour.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.issue.apply import apply_approved
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.report.assets import MODELS
from credential_pipeline.report.model_build import build
from credential_pipeline.report.models import load_project
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.report.summary import count_scope, reasons_of_scope
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline.settings import load_settings
from credential_pipeline.store import embedded
from credential_pipeline_tests.bench_memory import Peak
from credential_pipeline_tests.e2e.college import HEADER, write_college

DAY, AS_OF = date(2026, 3, 2), datetime(2026, 3, 2, 10, tzinfo=UTC)


def main() -> None:
    """Issue, then nothing."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--people", type=int, default=20_000, help="credentials, one a person [20000]")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-unchanged-") as work, Peak() as peak:
        home = Path(work) / "home"
        data = write_college(Path(work) / "college")
        write_files(data, given.people)
        settings = load_settings(institution=Path(work) / "college", home=home, environ={})
        try:
            with open_runtime(settings, as_of=AS_OF) as runtime:
                first, unchanged = pass_through(runtime, DAY, "first"), Counter[str]()
                for day in (DAY, DAY + timedelta(days=1)):
                    # The same day again, and the day after with the same files.
                    unchanged = max(unchanged, pass_through(runtime, day, f"again {day}"), key=Counter.total)
        finally:
            embedded.stop(home / "postgres", mode="immediate")
    print(f"\n{'stage':<16}{'first':>10}{'unchanged':>12}")
    for stage, seconds in unchanged.items():
        print(f"{stage:<16}{first[stage]:>9.1f} s{seconds:>10.2f} s")
    told = {
        "credentials": given.people, "unchanged_seconds": round(unchanged.total(), 2),
        "first_seconds": round(first.total(), 1), "peak_rss_mb": round(peak.mib),
        "stages": {stage: round(seconds, 2) for stage, seconds in unchanged.items()},
    }  # fmt: skip
    print(json.dumps(told))


def write_files(data: Path, people: int) -> None:
    """A person and a completion each."""
    with (data / "users.csv").open("w") as users, (data / "completions.csv").open("w") as done:
        users.write("id,name,email\n")
        done.write(HEADER)
        for n in range(1, people + 1):
            name = "".join(chr(ord("a") + int(c)) for c in str(n))
            users.write(f"U{n},Learner {name.title()},u{n}@college.example\n")
            done.write(f"U{n},C1,2025FA,2025-12-{n % 28 + 1:02d},{60 + n % 40},passed\n")


def pass_through(runtime: Runtime, day: date, run_id: str) -> Counter[str]:
    """All stages for a day; seconds of each."""
    institution, engine, store = runtime.institution, runtime.engine, runtime.store
    target = institution.targets.site
    seconds = Counter[str]()

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = work()
        seconds[stage] += time.perf_counter() - started
        return found

    for dataset in institution.datasets:
        landing = partial(extract_dataset, engine, dataset, runtime.data, day, run_id, lambda: runtime.secrets)
        timed("extract", landing)
        timed("gate", partial(gate_dataset, engine, institution, dataset, day, run_id))
    timed("identify", lambda: identify_batch(engine, institution, day, run_id))
    timed("earn", lambda: earn_batch(engine, institution, day, run_id))
    timed("plan", lambda: plan_day(engine, institution, runtime.secrets, day, AS_OF, run_id))
    timed(
        "apply",
        lambda: apply_approved(
            engine, institution, runtime.secrets, runtime.signer, run_id, now=AS_OF, workers=runtime.workers
        ),
    )
    timed(
        "publish",
        lambda: publish(
            engine, institution, store, target, runtime.signer(AS_OF), recorded_keys(engine, institution), AS_OF, run_id
        ),
    )
    timed("metrics", lambda: build(engine, load_project(MODELS), run_id))
    timed("counts", lambda: count_scope(engine, institution, day, [run_id], target))
    timed("reasons", lambda: reasons_of_scope(engine, institution, day))
    evidence = [dataset.name for dataset in institution.datasets_of("evidence")]
    found = timed("reconcile", lambda: reconcile(engine, read_object=store.get, target=target, evidence=evidence))
    assert found.balanced, found.differences
    print(f"{run_id:<18}" + "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()), flush=True)
    return seconds


if __name__ == "__main__":
    main()

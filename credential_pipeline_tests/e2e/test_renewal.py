"""A year on: a backfill of two renewal windows through Dagster, the same by hand with kills, and a lost key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, ExecuteInProcessResult
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from sqlalchemy import text

from credential_pipeline.automation import RENEWAL_PLANNING
from credential_pipeline.credential.verify import Verifier
from credential_pipeline.definitions import build_definitions
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.renew.due import windows
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.run import open_instance
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline.serve.world import SiteFolder
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import CATALOGUE, HEADER, write_college
from credential_pipeline_tests.e2e.conftest import House
from credential_pipeline_tests.terminal import Told, call

DAY, ISSUED = date(2026, 1, 10), datetime(2026, 1, 10, 12, tzinfo=UTC)
LATER = datetime(2026, 2, 20, 12, tzinfo=UTC)
PUBLISHED = datetime(2026, 2, 21, 12, tzinfo=UTC)
MONTHS = ("2026-03", "2026-04")
RENEWAL = """\
    validity: {years: 1}
    renewal:
      requires:
        - {dataset: lms.users, where: {email: [%s]}}
"""
ACTIVE = [f"p{n}@college.example" for n in range(1, 10)]
BLOCKED = "requirement_not_met:lms.users email=" + "|".join(ACTIVE)
"""Of ten persons, the tenth does not meet what is required."""


@pytest.fixture
def college(tmp_path: Path) -> Path:
    """Ten credentials that end in March and April 2026, by halves."""
    data = write_college(tmp_path / "college")
    catalogue = tmp_path / "college" / "catalogue" / "courses.yaml"
    catalogue.write_text(CATALOGUE + RENEWAL % ", ".join(ACTIVE))
    rows = [f"U{n},C1,2025SP,2025-{3 + n % 2:02d}-{n + 3:02d},{60 + n},passed" for n in range(1, 11)]
    (data / "completions.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path / "college"


@pytest.fixture
def house(new_house: Callable[..., House], college: Path) -> House:
    """A home of the college that issued in January."""
    return issued(new_house(college))


def issued(house: House) -> House:
    house.stages(day=DAY, as_of=ISSUED)
    return house


def query(house: House, sql: str) -> list[tuple[Any, ...]]:
    engine = open_engine(str(house.settings.database_url))
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(sql))]
    engine.dispose()
    return rows


@dataclass(frozen=True)
class Backfill:
    """What a run of the renewal job came to: whether it succeeded, its metadata, and which windows are recorded."""

    succeeded: bool
    metadata: Mapping[str, Any]
    recorded: set[str]


def backfill(house: House, first: str, last: str) -> Backfill:
    """One run of all windows from `first` to `last`, as Dagster launches a backfill of single-run assets."""
    with open_instance(house.settings, str(house.settings.database_url)) as instance:
        result: ExecuteInProcessResult = (
            build_definitions(house.settings)
            .resolve_job_def(RENEWAL_PLANNING)
            .execute_in_process(
                instance=instance,
                tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
                run_config={
                    "resources": {"runtime": {"config": {"as_of": LATER.isoformat()}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )
        )
        metadata = {
            event.step_key: {k: v.value for k, v in event.step_materialization_data.materialization.metadata.items()}
            for event in result.get_asset_materialization_events()
        }
        return Backfill(
            result.success,
            metadata,
            set(instance.get_materialized_partitions(AssetKey("renewed_credentials"))),
        )


VERSIONS = """
select c.credential_id, c.cause, c.awarded_on, c.valid_until, c.list_number, c.status_index, c.document_sha256, s.state,
       s.version, s.superseded_by
from ledger.credential c join ledger.credential_state s using (credential_id) order by 1
"""
EVENTS = "select credential_id, seq, kind, actor, reason, detail from ledger.event order by 1, 2"
MESSAGES = "select message_id, kind, credential_id, occasion from outbox.message order by 1"


def test_a_backfill_of_two_windows_renews_what_is_due_and_says_what_is_blocked(house: House) -> None:
    first, last = f"{MONTHS[0]}|0", f"{MONTHS[1]}|3"
    done = backfill(house, first, last)
    assert done.succeeded
    assert done.metadata["expiring_credentials"] | {"by_achievement": None} == {
        "expiring": 10, "renewable": 10, "reminded": 10, "by_achievement": None,
    }  # fmt: skip
    assert (done.metadata["renewal_plans"]["renew"], done.metadata["renewal_plans"]["hold"]) == (9, 1)
    assert [record.data for record in done.metadata["renewal_plans"]["blocked"].records] == [
        {"reason": BLOCKED, "credentials": 1}
    ]
    assert done.metadata["renewed_credentials"]["renewed"] == 9
    assert done.recorded == {f"{month}|{shard}" for month in MONTHS for shard in "0123"}
    assert query(
        house,
        "select c.cause, s.state, count(*) from ledger.credential c join ledger.credential_state s using"
        " (credential_id) group by 1, 2 order by 1, 2",
    ) == [("issue", "current", 1), ("issue", "superseded", 9), ("renewal:2026-03", "current", 4),
          ("renewal:2026-04", "current", 5)]  # fmt: skip

    again = backfill(house, first, last)
    assert again.succeeded
    assert again.metadata["renewed_credentials"]["renewed"] == 0
    assert again.metadata["expiring_credentials"]["reminded"] == 0

    house.stages(day=DAY, as_of=PUBLISHED)
    verifier = Verifier(SiteFolder(house.site, house.settings.institution.base_url), PUBLISHED)
    verdicts = sorted(verifier.verify(data).verdict for data in house.credentials().values())
    assert verdicts == ["superseded"] * 9 + ["valid"] * 10
    with open_runtime(house.settings, as_of=PUBLISHED) as runtime:
        assert reconcile(runtime.engine, read_object=runtime.store.get, target="site").differences == ()


def renew_by_hand(house: House, *, chunk: int, dies_after: int | None = None) -> None:
    """The backfill as plain functions; with `dies_after`, killed again and again after that many chunks."""
    with open_runtime(house.settings, as_of=LATER) as runtime:
        of_all = [of for month in MONTHS for of in windows(month)]
        while True:
            left = [dies_after]

            def signer(as_of: datetime, left: list[int | None] = left, runtime: Runtime = runtime) -> Any:
                if left[0] is not None:
                    left[0] -= 1
                    if left[0] < 0:
                        raise KeyboardInterrupt
                return runtime.signer(as_of)

            try:
                for of in of_all:
                    plan_window(runtime.engine, runtime.institution, runtime.secrets, of, LATER, "by-hand")
                    apply_window(
                        runtime.engine, runtime.institution, runtime.secrets, signer, of, "by-hand", now=LATER,
                        chunk=chunk,
                    )  # fmt: skip
            except KeyboardInterrupt:
                continue
            assert open_plans(runtime.engine) == []
            return


def test_killed_between_chunks_again_and_again_the_windows_come_to_the_same(
    new_house: Callable[..., House], house: House, college: Path
) -> None:
    killed = issued(new_house(college).with_secrets_of(house))
    renew_by_hand(house, chunk=4000)
    renew_by_hand(killed, chunk=1, dies_after=2)
    for sql in (VERSIONS, EVENTS, MESSAGES):
        assert query(killed, sql) == query(house, sql)


def test_a_window_that_fails_is_named_and_the_others_are_done_and_repeated_alone(house: House) -> None:
    # Somebody changed the hash of one shard's plan: its approval does not hold any more.
    with open_runtime(house.settings, as_of=LATER) as runtime:
        plans = {
            of.shard: plan_window(runtime.engine, runtime.institution, runtime.secrets, of, LATER, "by-hand").auto
            for of in windows(MONTHS[1])
        }
        bad, plan = next((shard, plan) for shard, plan in plans.items() if plan is not None)
        change = text("update ledger.plan set hash = :hash where plan_id = :plan")
        with runtime.engine.begin() as connection:
            connection.execute(change, {"plan": plan.plan_id, "hash": bytes(32)})
        failed = backfill(house, f"{MONTHS[1]}|0", f"{MONTHS[1]}|3")
        assert not failed.succeeded
        assert failed.recorded == {f"{MONTHS[1]}|{shard}" for shard in range(4) if shard != bad}
        assert query(house, "select count(*) from ledger.credential where cause <> 'issue'") == [
            (5 - plan.counts["renew"],)
        ]
        with runtime.engine.begin() as connection:
            connection.execute(change, {"plan": plan.plan_id, "hash": plan.hash})
    alone = backfill(house, f"{MONTHS[1]}|{bad}", f"{MONTHS[1]}|{bad}")
    assert alone.succeeded
    assert alone.metadata["renewed_credentials"]["renewed"] == plan.counts["renew"]
    assert len(alone.recorded) == 4


def told_of(house: House, college: Path, *arguments: str) -> Told:
    return call(
        *arguments, "--institution", str(college), "--home", str(house.settings.home), "--json",
        DATABASE_URL=str(house.settings.database_url),
    )  # fmt: skip


def verdicts_now(house: House, at: datetime) -> list[str]:
    verifier = Verifier(SiteFolder(house.site, house.settings.institution.base_url), at)
    return sorted(verifier.verify(data).verdict for data in house.credentials().values())


def test_the_drill_of_a_lost_key_from_the_command_line(new_house: Callable[..., House], college: Path) -> None:
    # What has ended is revoked and not issued again; commands go by the clock, so these never end.
    (college / "catalogue" / "courses.yaml").write_text(CATALOGUE)
    house = issued(new_house(college))
    assert verdicts_now(house, ISSUED) == ["valid"] * 10
    said = ("--reason", "laptop stolen", "--actor", "registrar")

    lost = told_of(house, college, "key", "compromised", "key-1", "--since", "2026-01-15T00:00:00Z", *said)
    assert lost.code == 0, lost.stderr
    assert lost.result["successor"] == "key-2"
    assert lost.result["current_credentials"] == 10
    keys = told_of(house, college, "key", "list").result["keys"]
    assert [(key["key_id"], key["signs"], key["credentials"]) for key in keys] == [
        ("key-1", False, {"current": 10}), ("key-2", True, {}),
    ]  # fmt: skip

    waiting = told_of(house, college, "campaign", "reissue", "--key", "key-1", *said)
    assert waiting.code == 0, waiting.stderr
    assert (waiting.result["state"], waiting.result["counts"]) == ("waiting", {"replace": 10})
    [listed] = told_of(house, college, "campaign", "list").result["campaigns"]
    assert (listed["scope"], listed["approval"], listed["open"]) == ("key:key-1", "four_eyes", 10)

    institution = college / "institution.yaml"
    institution.write_text(institution.read_text() + "policies: {campaign_approval: actor}\n")
    done = told_of(house, college, "campaign", "reissue", "--key", "key-1", *said)
    assert done.code == 0, done.stderr
    assert (done.result["state"], done.result["issued"]) == ("applied", 10)
    assert told_of(house, college, "campaign", "reissue", "--key", "key-1", *said).result["state"] == "nothing"

    with open_runtime(house.settings) as runtime:
        now = runtime.as_of
        publish(
            runtime.engine, runtime.institution, runtime.store, "site", runtime.signer(now),
            recorded_keys(runtime.engine, runtime.institution), now, "publish",
        )  # fmt: skip
    did = json.loads((house.site / ".well-known" / "did.json").read_bytes())
    assert [method.rpartition("#")[2] for method in did["assertionMethod"]] == ["key-2"]
    signed_by_lost = [
        path
        for folder in ("state", "status")
        for path in (house.site / folder).glob("*.json")
        if any("#key-1" in proof["verificationMethod"] for proof in _proofs(path))
    ]
    assert signed_by_lost == []
    verdicts = verdicts_now(house, now)
    assert (verdicts.count("valid"), len(verdicts)) == (10, 20)


def _proofs(path: Path) -> list[dict[str, Any]]:
    proof = json.loads(path.read_bytes())["proof"]
    return proof if isinstance(proof, list) else [proof]


def test_renewing_from_the_command_line(house: House, college: Path) -> None:
    at = ("--as-of", LATER.isoformat())
    planned = told_of(house, college, "renew", "--window", MONTHS[0], "--plan-only", *at)
    assert planned.code in {0, 1}, planned.stderr
    assert (planned.result["planned"], planned.result["renewed"], planned.result["reminded"]) == (4, 0, 5)
    done = told_of(house, college, "renew", "--window", MONTHS[0], *at)
    assert done.code == 1, "one is blocked"
    assert (done.result["renewed"], done.result["blocked"]) == (4, {BLOCKED: 1})
    one = told_of(house, college, "renew", "--window", f"{MONTHS[1]}/0", *at)
    assert one.result["renewed"] == sum(one.result["expiring"].values())
    wrong = told_of(house, college, "renew", "--window", "2026-3")
    assert (wrong.code, wrong.stdout) == (2, "")
    assert "write the month as YYYY-MM" in wrong.stderr


def test_a_new_key_signs_and_what_the_old_one_signed_stays_valid(
    new_house: Callable[..., House], college: Path
) -> None:
    (college / "catalogue" / "courses.yaml").write_text(CATALOGUE)
    house = issued(new_house(college))
    rotated = told_of(house, college, "key", "rotate", "--reason", "yearly", "--actor", "registrar")
    assert rotated.result["key"] == "key-2"
    with open_runtime(house.settings) as runtime:
        now = runtime.as_of
        keys = recorded_keys(runtime.engine, runtime.institution)
        publish(runtime.engine, runtime.institution, runtime.store, "site", runtime.signer(now), keys, now, "publish")
    did = json.loads((house.site / ".well-known" / "did.json").read_bytes())
    assert [method.rpartition("#")[2] for method in did["assertionMethod"]] == ["key-1", "key-2"]
    assert b"#key-2" in (house.site / "keys.json").read_bytes().partition(b"proof")[2]
    assert verdicts_now(house, now) == ["valid"] * 10
    said = ("--reason", "yearly", "--actor", "registrar")
    made = told_of(house, college, "key", "rotate", "--algorithm", "ES256", *said)
    assert (made.result["key"], made.result["algorithm"], made.result["kms_key"]) == ("jwt-1", "ES256", None)
    listed = told_of(house, college, "key", "list").result["keys"]
    assert {one["key_id"] for one in listed if one["signs"]} == {"key-2", "jwt-1"}
    wrong = told_of(house, college, "key", "rotate", "--kms", "alias/issuer", *said)
    assert (wrong.code, wrong.stdout) == (2, "")
    assert "is not the ARN of a KMS key" in wrong.stderr

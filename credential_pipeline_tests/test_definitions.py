"""What Dagster is told of an institution: loading is pure, the graph reads by stage, names change by decision only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import (
    AllPartitionMapping,
    AssetCheckKey,
    AssetKey,
    DailyPartitionsDefinition,
    DefaultSensorStatus,
    Definitions,
    MultiPartitionsDefinition,
    TableSchema,
)
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from credential_pipeline.definitions import build_definitions
from credential_pipeline.institution.load import load_institution
from credential_pipeline.settings import load_settings
from credential_pipeline_tests.conftest import REPOSITORY

SAMPLES = ("northfield", "open_university")
STAGES = ("extract", "gate", "identify", "issue", "publish", "renew", "report")

DATASETS = {
    "northfield": ("hr__employees", "hr__training", "lms__completions", "lms__courses", "lms__users", "sis__conferrals",
                   "sis__students"),
    "open_university": ("ou__assessments", "ou__courses", "ou__marks", "ou__registrations"),
}  # fmt: skip
BLOCKING = {
    "northfield": {"hr__employees", "lms__courses", "lms__users", "sis__students"},
    "open_university": {"ou__assessments", "ou__courses", "ou__marks"},
}
"""Decision 0003: people and reference data stop the day, evidence is set aside."""

ASSETS = (
    "awards", "credentials", "expiring_credentials", "persons", "plans", "publications", "reconciliation",
    "renewal_plans", "renewed_credentials",
    "achievements_overview", "expiring", "holds_waiting", "issuance_by_day", "issuance_success", "quarantine_reasons",
    "reconciliation_by_day", "stg_landed__row_outcome", "stg_ledger__award", "stg_ledger__award_standing",
    "stg_ledger__credential", "stg_ledger__decision", "stg_ledger__evidence_dataset", "stg_ledger__hold",
    "stg_ledger__plan", "stg_quarantine__reason",
)  # fmt: skip
"""Besides landed_X and accepted_X of every dataset. Dashboards and alerts use these names: renaming is a decision."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Definitions]:
    """Both samples, loaded where no home, no data, no database and no network can be reached."""
    nowhere = tmp_path_factory.mktemp("nowhere") / "home"

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"loading the definitions reached for the network: {arguments[1:]}")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "bind", "sendto"):
            patch.setattr(socket.socket, name, refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        found = {}
        for sample in SAMPLES:
            settings = load_settings(
                institution=REPOSITORY / "samples" / sample,
                home=nowhere,
                data=nowhere / "data",
                environ={
                    "CREDENTIAL_PIPELINE_DATABASE_URL": "postgresql://nobody:nothing@nowhere.invalid:1/none",
                    "CREDENTIAL_PIPELINE_SECRETS": str(nowhere / "secrets"),
                },
            )
            found[sample] = build_definitions(settings)
            Definitions.validate_loadable(found[sample])
    assert not nowhere.exists(), "loading the definitions left something in the home"
    return found


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> str:
    """The name of a sample institution."""
    return str(request.param)


@pytest.fixture
def definitions(loaded: dict[str, Definitions], sample: str) -> Definitions:
    """Its definitions."""
    return loaded[sample]


@pytest.fixture
def graph(definitions: Definitions) -> AssetGraph:
    """Its graph of assets."""
    return definitions.resolve_asset_graph()


def assets_of(sample: str) -> set[str]:
    of_datasets = {f"{stage}_{dataset}" for stage in ("landed", "accepted") for dataset in DATASETS[sample]}
    return {*of_datasets, *ASSETS}


def test_the_assets_are_those_that_were_decided_on(graph: AssetGraph, sample: str) -> None:
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == assets_of(sample)


def test_every_asset_says_whose_it_is_what_it_is_and_what_is_in_it(graph: AssetGraph) -> None:
    lacking = {}
    for node in graph.asset_nodes:
        columns = node.metadata.get("dagster/column_schema")
        says = {
            "group": node.group_name in STAGES,
            "kinds": bool(node.kinds),
            "owners": bool(node.owners),
            "description": bool(node.description and len(node.description) > 20),
            "columns": isinstance(columns, TableSchema) and bool(columns.columns),
        }
        if missing := [name for name, said in says.items() if not said]:
            lacking[node.key.to_user_string()] = missing
    assert lacking == {}


def test_the_graph_reads_from_left_to_right(graph: AssetGraph) -> None:
    stage = {node.key: STAGES.index(str(node.group_name)) for node in graph.asset_nodes}
    assert set(stage.values()) == set(range(len(STAGES)))
    backwards = [
        (parent.to_user_string(), node.key.to_user_string())
        for node in graph.asset_nodes
        for parent in node.parent_keys
        if stage[parent] > stage[node.key]
    ]
    assert backwards == []


def test_every_asset_is_fed_by_landed_rows(graph: AssetGraph, sample: str) -> None:
    landed = {AssetKey(f"landed_{dataset}") for dataset in DATASETS[sample]}
    for node in graph.asset_nodes:
        assert node.key in landed or graph.get_ancestor_asset_keys(node.key) & landed, node.key.to_user_string()


def test_no_partition_mapping_between_days_and_renewal_windows_is_left_to_dagster(graph: AssetGraph) -> None:
    mixed = {}
    for node in graph.asset_nodes:
        for parent in (graph.get(key) for key in node.parent_keys):
            kinds = {type(parent.partitions_def), type(node.partitions_def)}
            if kinds == {DailyPartitionsDefinition, MultiPartitionsDefinition}:
                mixed[parent.key, node.key] = type(node.partition_mappings.get(parent.key))
    assert mixed == {(AssetKey("credentials"), AssetKey("expiring_credentials")): AllPartitionMapping}


def test_days_renewal_windows_and_the_tail_are_partitioned_as_they_are_cut(graph: AssetGraph) -> None:
    cut = {"publish": type(None), "report": type(None), "renew": MultiPartitionsDefinition}
    for node in graph.asset_nodes:
        expected = cut.get(str(node.group_name), DailyPartitionsDefinition)
        assert type(node.partitions_def) is expected, node.key.to_user_string()


def test_breaches_stop_what_the_decision_says_they_stop(graph: AssetGraph, sample: str) -> None:
    checks = {
        dataset: {
            graph.get_check_spec(AssetCheckKey(AssetKey(f"{stage}_{dataset}"), name)).blocking
            for stage, name in (("landed", "batch_is_whole"), ("accepted", "within_reject_limit"))
        }
        for dataset in DATASETS[sample]
    }
    assert checks == {dataset: {dataset in BLOCKING[sample]} for dataset in DATASETS[sample]}


def test_an_institution_may_stop_at_evidence_and_go_on_past_people(tmp_path: Path) -> None:
    from credential_pipeline_tests.e2e.college import write_college

    write_college(tmp_path)
    file = tmp_path / "institution.yaml"
    evidence = "reject_limit: 0.5\n"
    assert evidence in file.read_text()
    file.write_text(file.read_text().replace(evidence, f"{evidence}          on_breach: stop\n"))
    blocking = {d.dataset.id: d.on_breach == "stop" for d in load_institution(tmp_path).datasets}
    graph = build_definitions(load_settings(institution=tmp_path, environ={})).resolve_asset_graph()
    assert blocking == {"users": True, "courses": True, "completions": True}
    assert graph.get_check_spec(AssetCheckKey(AssetKey("landed_lms__completions"), "batch_is_whole")).blocking


def test_the_checks_are_those_that_were_decided_on(graph: AssetGraph, sample: str) -> None:
    names: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        names.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    of_rows = {f"landed_{dataset}": {"batch_is_whole"} for dataset in DATASETS[sample]}
    of_rows |= {f"accepted_{dataset}": {"within_reject_limit"} for dataset in DATASETS[sample]}
    assert {asset: found for asset, found in names.items() if asset in of_rows} == of_rows
    assert names["reconciliation"] == {"adds_up"}
    assert names["plans"] == {"approvals"}
    assert not graph.get_check_spec(AssetCheckKey(AssetKey("plans"), "approvals")).blocking
    models = {node.key.to_user_string() for node in graph.asset_nodes if "sql" in node.kinds} - {"reconciliation"}
    assert {asset for asset in names if asset not in {*of_rows, "reconciliation", "plans"}} == models, (
        "a model without a test"
    )


def test_one_step_at_a_time_issues_identifies_and_publishes(graph: AssetGraph) -> None:
    pools: dict[str, set[str]] = {}
    for node in graph.asset_nodes:
        for pool in node.pools or ():
            pools.setdefault(pool, set()).add(node.key.to_user_string())
    assert pools == {
        "identity": {"persons"},
        "issuing": {"awards", "plans", "credentials", "renewed_credentials"},
        "planning": {"renewal_plans"},
        "publishing": {"publications"},
    }


def test_the_jobs_cut_the_flow_where_the_partitions_change(definitions: Definitions) -> None:
    stages = {}
    for job in definitions.resolve_all_job_defs():
        if not job.name.startswith("__"):
            layer = job.asset_layer
            stages[job.name] = {layer.get(key).group_name for key in layer.selected_asset_keys}
    assert stages == {
        "daily_batch": {"extract", "gate", "identify", "issue"},
        "publication": {"publish", "report"},
        "renewal_planning": {"renew"},
    }


def test_schedules_run_in_the_institutions_zone(definitions: Definitions, sample: str) -> None:
    zone = load_institution(REPOSITORY / "samples" / sample).time_zone
    schedules = definitions.get_repository_def().schedule_defs
    assert {(s.name, s.job_name, s.cron_schedule) for s in schedules} == {
        ("nightly_batch", "daily_batch", "30 1 * * *"),
        ("status_refresh", "publication", "10 * * * *"),
        ("monthly_renewal_planning", "renewal_planning", "0 4 1 * *"),
    }
    assert {s.execution_timezone for s in schedules} == {zone}


def test_only_what_a_person_or_a_batch_asked_for_starts_by_itself(definitions: Definitions) -> None:
    sensors = definitions.get_repository_def().sensor_defs
    running = {s.name: s.default_status == DefaultSensorStatus.RUNNING for s in sensors}
    assert running == {
        "new_files": False,
        "approved_plans": True,
        "publish_after_batch": True,
        "publish_after_failed_batch": True,
    }
    assert {s.default_status.value for s in definitions.get_repository_def().schedule_defs} == {"STOPPED"}


def test_workspace_yaml_is_valid_as_it_stands(tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CREDENTIAL_PIPELINE_", "DAGSTER_"))}
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        cwd=REPOSITORY,
        env={
            **kept,
            "DAGSTER_HOME": str(home),
            "CREDENTIAL_PIPELINE_INSTITUTION": str(REPOSITORY / "samples" / "northfield"),
            "CREDENTIAL_PIPELINE_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr
    assert not (tmp_path / "home").exists()

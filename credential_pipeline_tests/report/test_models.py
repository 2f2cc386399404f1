"""Loading SQL models: what a project folder may say, and the words when it says something else. No database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from credential_pipeline.report.model_lineage import column_lineage
from credential_pipeline.report.models import ModelError, load_project
from credential_pipeline_tests.report.projects import ONE, write_project

BUNDLED = Path(__file__).parent.parent.parent / "dbt_like_sql"


def test_bundled_project() -> None:
    project = load_project(BUNDLED)
    names = [model.name for model in project.models]
    assert {
        "issuance_by_day", "issuance_success", "quarantine_reasons", "holds_waiting", "achievements_overview",
        "expiring", "reconciliation_by_day",
    } <= set(names)  # fmt: skip
    for model in project.models:
        assert model.description
        assert all(column.description for column in model.columns)
        assert all(names.index(ref) < names.index(model.name) for ref in model.refs)
        assert any(test.model == model.name for test in project.tests)
    assert load_project(BUNDLED) == project


def test_no_metric_table_can_hold_personal_data() -> None:
    """Names, addresses and cells are in these columns; no model may read one, whatever it calls it."""
    personal = {"cells", "fields", "value", "given_name", "family_name", "full_name", "email", "birth_date", "facts"}
    project = load_project(BUNDLED)
    for model in project.models:
        assert not any(table.startswith("identity.") for table in model.sources)
        for sources in column_lineage(project, model).values():
            assert not personal & {column for _, column in sources}


def test_lineage_of_columns() -> None:
    project = load_project(BUNDLED)
    (overview,) = (m for m in project.models if m.name == "achievements_overview")
    lineage = column_lineage(project, overview)
    assert lineage["holders"] == (("metrics.stg_ledger__award", "person_id"),)
    assert lineage["first_awarded_on"] == (("metrics.stg_ledger__credential", "awarded_on"),)


def test_order_refs_sources_and_variables(tmp_path: Path) -> None:
    write_project(
        tmp_path,
        {
            "a": "{{ config(materialized='table') }}\nselect b.n from {{ ref('b') }} as b",
            "b": "select 1 as n from {{ source('ledger', 'award') }} as award where 'x' = '{{ var('who') }}'",
        },
    )
    project = load_project(tmp_path, {"who": "me"})
    b, a = project.models
    assert (a.name, a.materialized, a.refs, a.sources) == ("a", "table", ("b",), ())
    assert (b.name, b.materialized, b.refs, b.sources) == ("b", "view", (), ("ledger.award",))
    assert a.sql.strip() == "select b.n from metrics.b as b"
    assert "'x' = 'me'" in b.sql


BROKEN: Mapping[str, tuple[Mapping[str, str], str]] = {
    "unknown ref": (
        {"a": "select 1 as n\nfrom {{ ref('nobody') }}"},
        r"models/a.sql:2: ref\('nobody'\): no such model; write the name",
    ),
    "unknown source": (
        {"a": "select 1 as n\n\nfrom {{ source('ledger', 'secret') }}"},
        r"models/a.sql:3: source\('ledger', 'secret'\): no such table; name it",
    ),
    "unknown variable": ({"a": "select {{ var('who') }} as n"}, r"models/a.sql:1: var\('who'\) has no value; give"),
    "cycle": (
        {"a": "select n from {{ ref('b') }}", "b": "select n from {{ ref('a') }}"},
        "models/[ab].sql: models need each other in a circle: [ab] -> [ab] -> [ab]; let",
    ),
    "two statements": ({"a": "select 1 as n;\nselect 2 as n"}, "models/a.sql:1: has a semicolon; a model is one"),
    "not a select": ({"a": "delete from {{ source('ledger', 'award') }}"}, "models/a.sql: is not a SELECT"),
    "a hidden write": (
        {"a": "with x as (delete from {{ source('ledger', 'award') }} returning 1 as n) select n from x"},
        "models/a.sql: is not a SELECT that only reads",
    ),
    "select into": ({"a": "select 1 as n into other"}, "models/a.sql: is not a SELECT that only reads"),
    "not SQL": ({"a": "select 1 as n\nfrom where )"}, r"models/a.sql:2: is not SQL: .*; correct the SELECT"),
    "a table by its name": (
        {"a": "select 1 as n\nfrom ledger.award"},
        "models/a.sql.*: reads ledger.award by its name",
    ),
    "unnamed column": ({"a": "select 1 as n, 2"}, r"models/a.sql: has columns n, \(no name\); name each"),
    "star": ({"a": "select * from {{ source('ledger', 'award') }}"}, r"models/a.sql: has columns \*; name each"),
    "template": ({"a": "select 1 as n\nfrom {{ ref('b' }}"}, "models/a.sql:2: .*; correct the template"),
    "undefined": ({"a": "select 1 as n,\n{{ this }} as m"}, "models/a.sql:2: 'this' is undefined; a template has"),
    "escape": (
        {"a": "select 1 as n,\n{{ ref.__globals__ }} as m"},
        "models/a.sql:2: access to attribute '__globals__' .* is unsafe",
    ),
    "unknown config": ({"a": "{{ config(materialized='cube') }}select 1 as n"}, "models/a.sql:1: materialized='cube'"),
    "config word": ({"a": "{{ config(schema='ledger') }}select 1 as n"}, "models/a.sql:1: .*'schema'"),
    "view of a table": (
        {"a": "{{ config(materialized='table') }}select 1 as n", "b": "select n from {{ ref('a') }}"},
        "models/b.sql: is a view of the table a; materialize it as a table",
    ),
    "not described": ({"a": "select 1 as n", "z": "select 1 as n"}, "models/z.sql: is not described"),
    "column not described": ({"a": "select 1 as n, 2 as m"}, "models/schema.yml: column m of a is not described"),
    "column not there": ({"a": "select 1 as m"}, "models/schema.yml: model a has no column n"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_wrong_where_and_what_to_do(tmp_path: Path, fault: str) -> None:
    files, message = BROKEN[fault]
    write_project(tmp_path, files, described=[name for name in files if name != "z"])
    with pytest.raises(ModelError, match=message):
        load_project(tmp_path)


YAML_FAULTS = {
    "unknown test": ("tests: [positive]", r"models/schema.yml: a.n: no test is called positive; write unique"),
    "unknown member": ("test: [unique]", r"models/schema.yml:6: models.0.columns.0.test: Extra inputs"),
    "relationship to nothing": (
        "tests: [{relationships: {to: ref('z'), field: n}}]",
        r"models/schema.yml: a.n: ref\('z'\) has no column n; name a model",
    ),
    "relationship not a ref": ("tests: [{relationships: {to: z, field: n}}]", "models/schema.yml:6: .*match pattern"),
    "no YAML": ("tests: [unique", "models/schema.yml:.*; correct the indentation"),
}


@pytest.mark.parametrize("fault", YAML_FAULTS)
def test_what_is_wrong_in_yaml(tmp_path: Path, fault: str) -> None:
    line, message = YAML_FAULTS[fault]
    write_project(tmp_path, ONE)
    (tmp_path / "models" / "schema.yml").write_text(
        "version: 2\nmodels:\n  - name: a\n    description: A.\n    columns:\n"
        f"      - {{name: n, description: N, {line}}}\n"
    )
    with pytest.raises(ModelError, match=message):
        load_project(tmp_path)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    write_project(tmp_path, ONE)
    (tmp_path / "models" / "deep").mkdir()
    (tmp_path / "models" / "deep" / "a.sql").write_text("select 1 as n")
    with pytest.raises(ModelError, match=r"a\.sql: has the name of models/.*rename one"):
        load_project(tmp_path)


def test_described_without_a_file(tmp_path: Path) -> None:
    write_project(tmp_path, ONE, described=["a", "gone"])
    with pytest.raises(ModelError, match=r"model gone has no file; write gone\.sql"):
        load_project(tmp_path)


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"dbt_project\.yml: does not exist"):
        load_project(tmp_path)


def test_singular_test_needs_a_model(tmp_path: Path) -> None:
    write_project(tmp_path, ONE, tests={"t": "select 1 as n"})
    with pytest.raises(ModelError, match=r"tests/t.sql: tests no model; read at least one"):
        load_project(tmp_path)

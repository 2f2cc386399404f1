"""Documents that cannot go stale: what code offers is written down, and what is written down exists and works.

Belongs here: comparing README, docs/ and CONTEXT.md with the code. Does not belong here: whether a statement is well
put. Where a document quotes files of an institution, the quote is loaded by the real loader.
"""

from __future__ import annotations

import ast
import re
import subprocess
import typing
from functools import cache
from pathlib import Path

import click
import pytest
from pydantic.fields import FieldInfo

from credential_pipeline.automation import jobs, schedules, sensors
from credential_pipeline.cli import commands
from credential_pipeline.definitions import build_definitions
from credential_pipeline.extract.delimited import FILE_CODES
from credential_pipeline.gate.gate import GATE_CODES
from credential_pipeline.gate.judge import WHOLE_ROW
from credential_pipeline.institution import Institution, Policies
from credential_pipeline.institution.checks import AnyCheck, Check, Gate
from credential_pipeline.institution.documents import read_document
from credential_pipeline.institution.load import load_institution
from credential_pipeline.institution.sources import Dataset, Derivation, Source
from credential_pipeline.issue.lines import APPROVAL_REQUIRED, NOT_FOR_RELEASE
from credential_pipeline.publish.headers import TABLE
from credential_pipeline.renew.requirements import NOT_MET
from credential_pipeline.report.models import load_project
from credential_pipeline.settings import PREFIX, VARIABLES, load_settings
from credential_pipeline.store.tables import SCHEMAS, metadata
from credential_pipeline_tests.terminal import leaves

REPOSITORY = Path(__file__).parents[1]
TESTS = Path(__file__).parent
DOCS = REPOSITORY / "docs"
ROWS_OF_THE_PRODUCT = 38


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def operating() -> str:
    return read(DOCS / "operating.md")


def table_row(document: str, first: str) -> str:
    """The row of a Markdown table whose first cell is `first`, alone or with its arguments; a small letter is another
    word of a command (`plan list` is not a row of `plan`).
    """
    form = re.compile(rf"\| `{re.escape(first)}(`| [^a-z])")
    found = [line for line in document.splitlines() if form.match(line)]
    assert len(found) == 1, f"{first}: {len(found)} rows of a table begin with it"
    return found[0]


def section(document: str, heading: str) -> str:
    """What stands below a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", document, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading}"
    return found.group(1)


def fenced(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.MULTILINE | re.DOTALL)


def yaml_of(text: str, tmp_path: Path) -> typing.Any:
    path = tmp_path / "quoted.yaml"
    path.write_text(text, encoding="utf-8")
    node, problems = read_document(path)
    assert not problems
    assert node is not None
    return node.plain()


def markdown_files() -> list[Path]:
    return sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])


def check_kinds() -> tuple[type[Check], ...]:
    union, *_ = typing.get_args(AnyCheck)
    return typing.get_args(union)


COMMON = {"--institution", "--home", "--json", "--help"}


@pytest.mark.parametrize("name", sorted(leaves(commands)))
def test_every_command_and_option_is_told(name: str) -> None:
    told = section(operating(), "Commands")
    row = table_row(told, name)
    for parameter in leaves(commands)[name].params:
        if isinstance(parameter, click.Option):
            for option in {*parameter.opts, *parameter.secondary_opts} - COMMON:
                assert f"`{option}" in row, f"{name} {option}"
    for option in COMMON - {"--help"}:
        assert f"`{option}" in told


def test_the_targets_of_make_are_told() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", read(REPOSITORY / "Makefile"), re.MULTILINE)
    told = section(operating(), "Commands")
    assert [target for target in targets if target != "help" and f"`{target}`" not in told] == []


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_told(name: str) -> None:
    assert table_row(operating(), PREFIX + name)


def test_no_variable_is_told_that_is_not_there() -> None:
    named = {n for path in markdown_files() for n in re.findall(PREFIX + r"([A-Z][A-Z_]*[A-Z])", read(path))}
    assert named == set(VARIABLES)


@pytest.mark.parametrize("table", metadata.tables)
def test_every_table_and_column_is_told(table: str) -> None:
    told = section(read(DOCS / "data-model.md"), table)
    assert [c.name for c in metadata.tables[table].columns if f"`{c.name}`" not in told] == []


def test_no_table_is_told_that_is_not_there() -> None:
    headings = re.findall(r"^### (\S+\.\S+)$", read(DOCS / "data-model.md"), re.MULTILINE)
    assert sorted(headings) == sorted([*metadata.tables, "ledger.alembic_version"])
    assert [s for s in SCHEMAS if s != "metrics" and f"\n## {s}\n" not in read(DOCS / "data-model.md")] == []


def test_every_model_is_told() -> None:
    told = section(read(DOCS / "data-model.md"), "Metrics")
    models = {model.name for model in load_project(REPOSITORY / "dbt_like_sql").models}
    assert [name for name in sorted(models) if f"`{name}`" not in told] == []
    assert [name for name in re.findall(r"`(stg_\w+|\w+_by_day)`", told) if name not in models] == []


def test_every_check_kind_has_an_example_that_loads(tmp_path: Path) -> None:
    (example,) = [text for text in fenced(read(DOCS / "connectors.md"), "yaml") if text.startswith("gate:")]
    gate = Gate.model_validate(yaml_of(example, tmp_path)["gate"])
    assert {type(check) for check in gate.checks} == set(check_kinds())


def test_every_derivation_has_an_example_that_loads(tmp_path: Path) -> None:
    (example,) = [text for text in fenced(read(DOCS / "connectors.md"), "yaml") if text.startswith("derive:")]
    columns = {field: field for field in ("module", "presentation", "person")}
    dataset = Dataset.model_validate(
        {"id": "x", "role": "evidence", "files": "x.csv", "columns": columns, **yaml_of(example, tmp_path)}
    )
    union, *_ = typing.get_args(Derivation)
    assert {type(step) for step in dataset.derive} == set(typing.get_args(union))


def test_the_example_of_a_source_loads(tmp_path: Path) -> None:
    (example,) = [text for text in fenced(read(DOCS / "connectors.md"), "yaml") if text.startswith("sources:")]
    (source,) = yaml_of(example, tmp_path)["sources"]
    told = read(DOCS / "connectors.md")
    (dataset,) = Source.model_validate(source).datasets
    assert dataset.delimiter == ";"
    for name in ("people", "evidence", "reference"):
        assert table_row(told, name)


def test_every_quarantine_code_has_its_remedy() -> None:
    codes = {code for kind in check_kinds() for code in kind.codes} | set(WHOLE_ROW) | {"batch_refused"}
    told = section(operating(), "Quarantine: rows")
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == codes


def test_every_breach_code_has_its_remedy() -> None:
    told = section(operating(), "Breaches: files and batches")
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == {*FILE_CODES, *GATE_CODES}


def test_every_reason_to_hold_is_told() -> None:
    """Reasons are the keys of `waits` in three modules, and four that are written apart."""
    waits = {
        module: node.value
        for module in ("issue/lines.py", "issue/reissue.py", "renew/plan.py")
        for node in ast.walk(ast.parse(read(REPOSITORY / "credential_pipeline" / module)))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == "waits"
    }
    assert len(waits) == 3
    reasons = {
        APPROVAL_REQUIRED if isinstance(key, ast.Name) else ast.literal_eval(key)
        for found in waits.values()
        for key in found.keys
        if key is not None
    }
    apart = {"stale", "revoke_duplicate_after_merge", NOT_MET, "achievement_not_in_catalogue"}
    assert {*reasons, *apart} >= NOT_FOR_RELEASE.keys()
    told = section(operating(), "Skipped and held")
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == reasons | apart


def test_every_asset_of_the_sample_is_told(tmp_path: Path) -> None:
    settings = load_settings(
        institution=REPOSITORY / "samples" / "northfield", environ={f"{PREFIX}HOME": str(tmp_path / "none")}
    )
    keys = {key.to_user_string() for key in build_definitions(settings).resolve_all_asset_keys()}
    told = set(re.findall(r"`(\w+)`", operating() + read(DOCS / "data-model.md")))
    assert sorted(keys - told) == []


def test_jobs_schedules_and_sensors_are_told_with_their_state(northfield: Institution) -> None:
    all_jobs = jobs()
    for name in all_jobs:
        assert table_row(section(operating(), "Jobs"), name)
    told = section(operating(), "Schedules and sensors")
    started = [*schedules(northfield, all_jobs), *sensors(northfield, REPOSITORY, all_jobs)]
    for one in started:
        row = table_row(told, one.name)
        assert row.rstrip("| ").endswith("**on**" if one.default_status.value == "RUNNING" else "off"), one.name
    assert len(re.findall(r"^\| `", told, re.MULTILINE)) == len(started)


def test_every_message_that_is_explained_is_one_of_ours() -> None:
    written = {
        node.value
        for path in (REPOSITORY / "credential_pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    explained = re.findall(r"^\| `([^|]+)` \|", section(operating(), "Messages"), re.MULTILINE)
    assert len(explained) > 10
    assert [text for text in explained if not any(text in constant for constant in written)] == []


def test_every_published_path_is_told() -> None:
    told = section(operating(), "Publishing")
    examples = {
        "credential": "credentials/PUBLIC-ID.json",
        "credential as JWT": "credentials/PUBLIC-ID.jwt",
        "state": "state/PUBLIC-ID.json",
        "status list": "status/N.json",
        "did": ".well-known/did.json",
        "keys": "keys.json",
        "issuer": "issuer.json",
        "achievement": "achievements/SLUG.json",
        "style": "assets/*.css",
        "page": "index.html",
    }
    assert set(examples) == {kind.name for kind in TABLE}
    assert [path for path in examples.values() if f"`{path}`" not in told] == []


@pytest.mark.parametrize(("name", "field"), Policies.model_fields.items())
def test_every_policy_is_told_with_its_default(name: str, field: FieldInfo) -> None:
    _, _, default, *_ = table_row(section(operating(), "Policies"), name).split("|")
    assert default.strip().strip("`") == str(field.default)


def test_the_institution_of_the_readme_loads(tmp_path: Path) -> None:
    institution, programme = fenced(read(REPOSITORY / "README.md"), "yaml")
    assert len(institution.splitlines()) == 10
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "institution.yaml").write_text(institution, encoding="utf-8")
    (tmp_path / "catalogue" / "courses.yaml").write_text(programme, encoding="utf-8")
    loaded = load_institution(tmp_path)
    assert [dataset.name for dataset in loaded.datasets] == ["lms.users", "lms.completions"]
    assert list(loaded.catalogue.achievements) == ["first-aid"]


def test_the_readme_is_short() -> None:
    assert len(read(REPOSITORY / "README.md").splitlines()) < 200


def cited_tests() -> list[str]:
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", read(DOCS / "status.md"), re.MULTILINE)
    return sorted({cited for cell in rows for cited in re.findall(r"`([^`]+)`", cell)})


def test_the_status_has_every_row_of_the_product() -> None:
    headings = re.findall(r"^## (\d+) \S", read(DOCS / "status.md"), re.MULTILINE)
    assert [int(n) for n in headings] == list(range(1, ROWS_OF_THE_PRODUCT + 1))


def test_the_status_tells_a_state_and_for_what_works_a_test() -> None:
    lines = [line for line in read(DOCS / "status.md").splitlines() if re.match(r"\| (?!must show|-)", line)]
    assert len(lines) > 2 * ROWS_OF_THE_PRODUCT
    for line in lines:
        _, _, state, test, _ = (cell.strip() for cell in line.split("|"))
        assert re.match(r"(works|partly|not yet)\b", state), line
        assert test or state.startswith("not yet"), line


@pytest.mark.parametrize("cited", cited_tests())
def test_what_the_status_cites_exists(cited: str) -> None:
    name, _, function = cited.partition("::")
    path = TESTS / name
    assert path.is_file()
    if function:
        tree = ast.parse(read(path))
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def anchors(document: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(read(linked)), target


# Two segments at least, so that prose about /home or /root is no path.
MACHINE = re.compile(r"(?<![\w./~-])/(?:home|Users|root|work|mnt|private/tmp|tmp)/[A-Za-z0-9_.-]+")
NOT_OURS = {".jsonld", ".lock", ".csv", ".pyc", ".svg"}


def repository_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    else:  # an unpacked archive, or somebody else's checkout
        folders = ("credential_pipeline", "credential_pipeline_tests", "dbt_like_sql", "docs", "samples")
        names = [*REPOSITORY.glob("*"), *(path for folder in folders for path in (REPOSITORY / folder).rglob("*"))]
    return [path for path in names if path.is_file() and path.suffix not in NOT_OURS and path != Path(__file__)]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}: {hit}"
        for path in repository_files()
        for hit in MACHINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize("text", ["see /home/alice/project", "cd '/Users/alice/x'", "file:/work/project"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert MACHINE.search(text)


@pytest.mark.parametrize("text", ["https://example.org/home/alice", "as root, /root is closed", "./tmp/x", "a/work/b"])
def test_what_is_no_path_of_a_machine_is_not(text: str) -> None:
    assert not MACHINE.search(text)

"""Small dbt project folders for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

ONE = {"a": "select 1 as n"}


def write_project(
    directory: Path,
    models: Mapping[str, str],
    *,
    described: Iterable[str] | None = None,
    columns: Mapping[str, str] | None = None,
    tests: Mapping[str, str] | None = None,
) -> None:
    """Models as name -> SQL, each described with `columns` (name -> its tests in YAML), by default one column n."""
    for folder in ("models", "tests"):
        (directory / folder).mkdir(exist_ok=True)
    (directory / "dbt_project.yml").write_text("name: small\nversion: '1'\nprofile: small\n")
    (directory / "models" / "sources.yml").write_text(
        "version: 2\nsources:\n  - {name: ledger, tables: [{name: award}]}\n"
    )
    lines = ["version: 2", "models:"]
    for name in models if described is None else described:
        lines += [f"  - name: {name}", f"    description: What {name} is.", "    columns:"]
        for column, its_tests in (columns or {"n": "[]"}).items():
            lines.append(f"      - {{name: {column}, description: The {column}., tests: {its_tests}}}")
    (directory / "models" / "schema.yml").write_text("\n".join(lines) + "\n")
    for folder, files in (("models", models), ("tests", tests or {})):
        for name, sql in files.items():
            (directory / folder / f"{name}.sql").write_text(sql)

"""`make test-reference`: the tests of credential/ and issue/, and a whole run, without the compiled implementation.

Belongs here: a copy of the checkout without COMPILED_MODULES and without the tests of these alone, and pytest in it.
Does not belong here: what is tested. Every test there must pass as it does with the compiled files, only slower.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from credential_pipeline.credential.many import COMPILED_MODULES

REPOSITORY = Path(__file__).parents[1]
COPIED = ("credential_pipeline", "credential_pipeline_tests", "samples", "dbt_like_sql", "docs")
SIGNING = ("apply", "compose", "correct", "issue_assets", "reissue")
TESTS = ("credential", *(f"issue/test_{name}.py" for name in SIGNING), "e2e/test_northfield.py")
"""What signs, in a minute; `--all` is the whole suite."""
_IMPORTS_COMPILED = re.compile(
    rf"^from credential_pipeline\.credential\.({'|'.join(COMPILED_MODULES)}) import", re.MULTILINE
)
_ASSERT = "from credential_pipeline.credential.many import implementation as i; assert i() == 'reference', i()"


def copy_without_compiled(place: Path) -> list[str]:
    """Copy the checkout to `place`; returns the tests that are left out: those that import a compiled module."""
    nothing = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, place / name, ignore=nothing)
    for file in REPOSITORY.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, place)
    for name in COMPILED_MODULES:
        (place / "credential_pipeline" / "credential" / f"{name}.py").unlink()
    tests = place / "credential_pipeline_tests"
    gone = {path for path in tests.rglob("*.py") if _IMPORTS_COMPILED.search(path.read_text(encoding="utf-8"))}
    # And what imports these in turn.
    while more := {path for path in tests.rglob("*.py") if path not in gone and _imports_one_of(path, gone, tests)}:
        gone |= more
    for path in gone:
        path.unlink()
    return sorted(path.relative_to(tests).as_posix() for path in gone)


def _imports_one_of(path: Path, gone: set[Path], tests: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    modules = (".".join(["credential_pipeline_tests", *x.relative_to(tests).with_suffix("").parts]) for x in gone)
    return any(f"from {module} import" in text for module in modules)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns what pytest returns; `arguments` go to it. Names of tests, and `--all`, come instead of TESTS."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    named = [name for name in given if name.startswith("credential_pipeline_tests")]
    tests = named or [f"credential_pipeline_tests/{name}" for name in ([""] if "--all" in given else TESTS)]
    options = [option for option in given if option != "--all" and option not in named]
    with tempfile.TemporaryDirectory(prefix="credential-pipeline-reference-") as made:
        place = Path(made)
        left_out = copy_without_compiled(place)
        print(f"without {', '.join(COMPILED_MODULES)}; left out: {', '.join(left_out)}", flush=True)
        environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, "-c", _ASSERT], cwd=place, env=environment, check=True)
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *tests]
        return subprocess.run(pytest, cwd=place, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from credential_pipeline_tests.gate.clinic import Clinic, institution


@pytest.fixture
def clinic(engine: Engine, tmp_path: Path) -> Callable[..., Clinic]:
    """A function from datasets to an institution with a database and a data directory."""

    def open_clinic(*datasets: Mapping[str, Any]) -> Clinic:
        return Clinic(engine, tmp_path, institution(*datasets))

    return open_clinic

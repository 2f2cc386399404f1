"""The issuing room's desks, in this room too; and one whose credentials are renewed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from credential_pipeline_tests.issue.conftest import desk, new_desk, school_secrets
from credential_pipeline_tests.issue.desk import Desk
from credential_pipeline_tests.renew.office import Office, school

__all__ = ["desk", "new_desk", "new_office", "office", "school_secrets"]


@pytest.fixture
def new_office(new_desk: Callable[..., Desk]) -> Callable[..., Office]:
    """A function that makes an office for achievements and policies of the test's own."""
    return lambda *achievements, **members: Office(new_desk(school(*achievements, **members)))


@pytest.fixture
def office(new_office: Callable[..., Office]) -> Office:
    """Two achievements: `safety`, which needs employment, and `knots`, which needs nothing."""
    return new_office()

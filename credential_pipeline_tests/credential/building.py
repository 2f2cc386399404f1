"""Builders with one thing changed, not yet called: for tests of what they refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from credential_pipeline.credential.document import (
    ResultDescription,
    achievement_document,
    issuer_profile,
    open_badge_credential,
)
from credential_pipeline_tests.credential.forms import BASE, COURSE, ISSUER, facts


def achieving(**changes: Any) -> Callable[[], Any]:
    return lambda: achievement_document(dataclasses.replace(COURSE, **changes), ISSUER)


def describing(**changes: Any) -> Callable[[], Any]:
    return achieving(result_descriptions=(ResultDescription(f"{BASE}/achievements/x#y", "a", "Percent", **changes),))


def issuing(**changes: Any) -> Callable[[], Any]:
    return lambda: issuer_profile(dataclasses.replace(ISSUER, **changes))


def crediting(**changes: Any) -> Callable[[], Any]:
    return lambda: open_badge_credential(facts(**changes))

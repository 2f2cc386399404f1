"""The compiled path beside the reference on 20,000 random documents: the second half of them."""

from __future__ import annotations

import pytest

from credential_pipeline_tests.credential.compare import SHARE, SHARES, compare_share


@pytest.mark.parametrize("number", range(SHARES // 2, SHARES))
def test_every_form_is_that_of_the_reference(number: int) -> None:
    tally = compare_share(number)
    assert tally.documents == SHARE
    # An eighth has had odd values put in its slots, and what the compiled path leaves out is the reference's anyway.
    assert tally.compiled > SHARE * 0.8, tally.reasons

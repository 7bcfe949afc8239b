"""A refusal is read from a log as it was written there."""

from __future__ import annotations

import pytest

from branchtrack import refusal_lines
from branchtrack.errors import InvalidInput, LaunchFailed


def log_of(*errors: Exception) -> list[str]:
    lines = ["fake training starts"]
    for error in errors:
        assert isinstance(error, InvalidInput | LaunchFailed)
        lines += refusal_lines.format_refusal(error).splitlines()
    return [*lines, "a library says goodbye"]


@pytest.mark.parametrize("what", ["It does not fit.", "Two differ:\nlr: 1\nbetas: 2"])
def test_the_message_is_read_whole_and_nothing_else(what: str) -> None:
    error = LaunchFailed(what, fix="Do this.")
    assert refusal_lines.parse_refusal(log_of(error)) == str(error)


def test_of_several_the_last_one_counts_and_without_any_there_is_none() -> None:
    last = InvalidInput("lr", -1, "positive numbers")
    assert refusal_lines.parse_refusal(log_of(LaunchFailed("First."), last)) == str(last)
    assert refusal_lines.parse_refusal(log_of()) == ""

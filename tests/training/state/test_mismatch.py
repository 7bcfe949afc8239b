"""What does not fit is refused with both sides, and with the command that declares it."""

from __future__ import annotations

import math

import pytest

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.state import mismatch
from branchtrack.training.state.mismatch import ACCEPTED, Difference


def refusal(*differences: Difference, accepted: tuple[str, ...] = ()) -> CheckpointMismatch:
    with pytest.raises(CheckpointMismatch) as caught:
        mismatch.refuse(differences, accepted)
    return caught.value


def test_of_two_long_lists_only_what_differs_is_shown() -> None:
    mismatch.must_match("the names", ["a", "b"], ["a", "b"])
    with pytest.raises(CheckpointMismatch) as caught:
        mismatch.must_match("the names", ["a", "b"], ["a", "c", "d"])
    assert "the script has 2 with b, the node 3 with c, d" in caught.value.what
    assert caught.value.what.startswith("The names")


@pytest.mark.parametrize(
    ("current", "recorded", "equal"),
    [
        (math.nan, math.nan, True),
        ((1, 2), [1, 2], True),
        ({"a": (math.inf,)}, {"a": [math.inf]}, True),
        (1, 2, False),
        ([1], [1, 1], False),
    ],
)
def test_values_of_records_are_compared_as_json_has_them(
    current: object, recorded: object, equal: bool
) -> None:
    assert mismatch.equal(current, recorded) is equal


def test_a_value_is_quoted_only_where_a_shell_would_read_more_into_it() -> None:
    assert mismatch.quoted(0.5) == "0.5" and mismatch.quoted("a,b") == "a,b"
    assert mismatch.quoted("a b") == "'a b'" and mismatch.quoted("$x") == "'$x'"


def test_a_name_that_no_script_has_cannot_be_accepted() -> None:
    records = {"lr": 1}, {"eps": 1}
    assert mismatch.accepted({"accept": " lr, eps,"}, *records) == {"lr", "eps"}
    assert mismatch.accepted({}, *records) == set()
    with pytest.raises(InvalidInput, match="epss") as caught:
        mismatch.accepted({"accept": "epss"}, *records)
    assert "eps" in caught.value.allowed


def test_nothing_different_is_no_refusal() -> None:
    mismatch.refuse((), ())


def test_one_command_declares_all_that_differs() -> None:
    error = refusal(
        Difference("lr", 1, 2, option="--set lr=1"),
        Difference("loss", "a", "b", option=ACCEPTED),
        Difference("eps", 1, 2, option="--set lr=1"),
        accepted=("data",),
    )
    assert error.fix.endswith("declare the change: --set lr=1 --accept data,loss.")
    assert "Also different: loss, eps." in error.what
    assert (error.field, error.expected, error.found) == ("lr", 2, 1)


def test_what_cannot_be_declared_leaves_the_weights() -> None:
    error = refusal(Difference("lr", 1, 2, option="--set lr=1"), Difference("optim", "a", "b"))
    assert "--mode weights." in error.fix and "--set" not in error.fix
    assert "--resize" in refusal(Difference("model.config.n_embd", 1, 2)).fix


def test_of_many_differences_a_few_are_named() -> None:
    many = [Difference(f"d{number}", 1, 2, option=ACCEPTED) for number in range(9)]
    assert "d1, d2, d3, d4, d5 and 3 more" in refusal(*many).what

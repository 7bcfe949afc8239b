"""Which weights may be merged, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.forks import merges
from branchtrack.core.forks.merges import Merge
from branchtrack.errors import InvalidInput


def entry(name: str, dtype: str = "F32", shape: tuple[int, ...] = (2, 3), digest: str = "a") -> Any:
    return [f"model/{name}", dtype, list(shape), digest]


def test_an_order_survives_its_way_through_the_environment() -> None:
    order = Merge("b1", "n1", "n2", (0.25, 0.75), "ann", "soup", "Merge of a and b", 7)
    assert Merge.from_text(order.to_text()) == order


@pytest.mark.parametrize("text", ["0.5,0.5", "0,1", "1, 0", "0.3,0.7", "0.3333333,0.6666667"])
def test_shares_are_two_numbers_with_the_sum_one(text: str) -> None:
    weights = merges.parse_weights(text)
    assert weights == tuple(float(part) for part in text.split(","))


@pytest.mark.parametrize(
    "text", ["", "1", "0.5", "0.5,0.6", "-0.5,1.5", "nan,1", "inf,0", "a,b", "0.2,0.3,0.5"]
)
def test_other_shares_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidInput, match="whose sum is 1") as error:
        merges.parse_weights(text)
    assert error.value.field == "weights"


@pytest.mark.parametrize(
    ("b", "words"),
    [
        ([], "A has the tensor w, and B does not."),
        ([entry("w"), entry("v")], "B has the tensor v, and A does not."),
        ([entry("w", shape=(3, 2))], "w is 2×3 in A and 3×2 in B."),
        ([entry("w", shape=())], "w is 2×3 in A and a single value in B."),
        ([entry("w", "BF16")], "w is F32 in A and BF16 in B."),
        ([entry("w", digest="b")], ""),
    ],
)
def test_the_first_difference_of_two_models_is_named(b: list[Any], words: str) -> None:
    assert merges.difference([entry("w")], b) == words


def test_floats_that_differ_are_averaged_and_other_tensors_are_those_of_a() -> None:
    a = [entry("w"), entry("frozen"), entry("half", "BF16"), entry("n", "I64"), entry("m", "BOOL")]
    b = [entry("w", digest="b"), entry("frozen"), entry("half", "BF16", digest="b")]
    b += [entry("n", "I64", digest="b"), entry("m", "BOOL", digest="b")]
    assert merges.averaged(a, b) == ["model/w", "model/half"]
    assert merges.taken_from_a(a, b) == ["model/n", "model/m"]
    assert merges.nbytes(a, merges.averaged(a, b)) == 6 * 4 + 6 * 2


def test_the_record_says_what_each_part_of_the_state_is() -> None:
    names = [f"model/n{number}" for number in range(22)]
    said = merges.restored("aa", "bb", (0.25, 0.75), names)
    assert said["weights"] == "0.25 of node aa + 0.75 of node bb"
    assert said["other tensors"].startswith("of node aa: n0, n1,")
    assert said["other tensors"].endswith("n19 and 2 more")
    assert said["optimizer"] == said["rng"] == "reset"
    assert "other tensors" not in merges.restored("aa", "bb", (0.5, 0.5), [])


def test_the_message_names_both_parents_the_weights_and_the_reason() -> None:
    assert merges.message("a@30", "b@20", (0.5, 0.5)) == "Merge of a@30 and b@20, weights 0.5, 0.5"
    assert merges.message("a@1", "b@2", (1, 0), "try it").endswith("weights 1, 0: try it")


def test_a_branch_gets_the_first_free_number() -> None:
    assert merges.free_branch({"main"}) == "merge-1"
    assert merges.free_branch({"merge-1", "merge-3"}) == "merge-2"


def test_only_what_describes_the_model_is_kept_of_a_state() -> None:
    state = {"modules": {}, "optimizer": {}, "rng": {}, "loop": {}, "aliases": {"a": "b"}}
    assert merges.state_of(state) == {"modules": {}, "aliases": {"a": "b"}}

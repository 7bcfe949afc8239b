"""Values of attributes are compared by their contents, and restored without replacing objects."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque, namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack.training.attributes import values

Pair = namedtuple("Pair", "a b")


def restored(present: Any, stored: Any) -> Any:
    """What an attribute holds once it was given the state of ``stored``."""
    holder = SimpleNamespace(attribute=present)
    values.give(holder, "attribute", present, values.state_of(stored))
    return holder.attribute


@pytest.mark.parametrize(
    ("name", "is_time"),
    [
        ("start_time", True),
        ("tokensPerSec", True),
        ("steps_per_s", True),
        ("time_step", False),
        ("momentum", False),
        ("seconds", True),
        ("timestep", False),
    ],
)
def test_names_of_times_are_told_from_names_that_resemble_them(name: str, is_time: bool) -> None:
    assert values.is_of_time(name) is is_time


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, True),
        (1, 1.0),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (np.zeros(2), np.zeros((2, 1))),
        (deque([1]), deque([1, 1])),
        (b"a", b"b"),
    ],
    ids=repr,
)
def test_values_that_differ_have_other_signatures(value: Any, other: Any) -> None:
    assert values.signature(value) != values.signature(other)
    assert values.signature(value) == values.signature(value)


def test_the_order_of_a_set_and_the_time_in_a_dict_are_no_change() -> None:
    assert values.signature({"b", "a", "c"}) == values.signature({"c", "b", "a"})
    assert values.signature({"a": 1, "time": 1}) == values.signature({"a": 1, "time": 2})


def test_a_write_to_a_large_tensor_between_its_samples_is_seen_by_its_version() -> None:
    tensor = torch.zeros(1 << 20)
    before = values.signature(tensor), values.signature(tensor, versions=True)
    tensor[1] = 1.0
    assert values.signature(tensor) == before[0]
    assert values.signature(tensor, versions=True) != before[1]


def test_a_container_of_a_datasets_size_is_compared_by_its_ends() -> None:
    rows = list(range(30_000))
    outline = values.signature(rows)
    assert outline is not None and values.is_outline(outline)
    rows[15_000] = -1
    assert values.signature(rows) == outline
    rows[-1] = -1
    assert values.signature(rows) != outline


def test_an_object_that_fails_when_it_is_looked_at_has_no_signature() -> None:
    class Failing:
        def state_dict(self) -> Any:
            raise RuntimeError

        def load_state_dict(self, state: Any) -> None: ...

    assert values.signature(Failing()) is None


@pytest.mark.parametrize(
    ("present", "stored"),
    [
        (torch.zeros(2), torch.ones(2)),
        (np.zeros(2), np.ones(2)),
        ([1, [2]], [3, [4]]),
        (deque([1], maxlen=2), deque([2, 3], maxlen=2)),
        ({"a": {"b": 1}, "gone": 1}, {"a": {"b": 2}, "new": 3}),
    ],
    ids=repr,
)
def test_a_container_is_refilled_and_stays_the_same_object(present: Any, stored: Any) -> None:
    assert restored(present, stored) is present
    assert values.signature(present) == values.signature(stored)


def test_what_others_share_within_a_container_stays_shared() -> None:
    shared = torch.zeros(2)
    present = {"mean": shared}
    restored(present, {"mean": torch.ones(2)})
    assert shared.tolist() == [1.0, 1.0]


def test_a_tensor_of_another_shape_is_replaced_by_a_copy() -> None:
    stored = torch.ones(3)
    tensor = restored(torch.zeros(2), stored)
    stored.zero_()
    assert tensor.tolist() == [1.0] * 3


def test_a_tuple_with_names_and_a_deque_with_a_length_keep_them() -> None:
    pair = restored(Pair(1, 2), Pair(3, 4))
    assert isinstance(pair, Pair) and pair.b == 4
    created = restored(None, deque([1, 2], maxlen=2))
    assert isinstance(created, deque) and created.maxlen == 2


def test_a_dict_that_makes_its_values_makes_them_as_it_would() -> None:
    present: Any = defaultdict(deque)
    restored(present, {"a": [1, 2]})
    assert isinstance(present["a"], deque) and list(present["a"]) == [1, 2]
    assert restored(None, Counter("aab")) == Counter("aab")


@pytest.mark.parametrize(
    "make",
    [
        torch.Generator,
        random.Random,
        lambda: np.random.default_rng(0),
        lambda: np.random.RandomState(0),
    ],
)
def test_a_generator_goes_on_where_it_was(make: Any) -> None:
    def draw(generator: Any) -> float:
        if isinstance(generator, torch.Generator):
            return float(torch.rand((), generator=generator))
        return float(generator.random())

    generator = make()
    draw(generator)
    state = values.state_of(generator)
    state = (
        {**state, "state": state["state"].clone()} if hasattr(state["state"], "clone") else state
    )
    expected = draw(generator)
    other = make()
    values.give(None, "", other, state)
    assert draw(other) == expected


def test_groups_of_an_optimizer_stay_the_objects_that_others_hold() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 0.1)
    group, stored = optimizer.param_groups[0], values.state_of(torch.optim.SGD([parameter], 0.5))
    values.give(None, "", optimizer, stored)
    assert optimizer.param_groups[0] is group and group["lr"] == 0.5


def test_what_is_no_plain_data_or_a_long_text_is_not_stored() -> None:
    assert values.can_store(values.state_of([1, {"a": torch.zeros(1)}]))
    assert not values.can_store(values.state_of([object()]))
    assert not values.can_store(values.state_of("x" * 5000))


def test_a_state_in_a_word_is_a_number_or_its_kind() -> None:
    assert values.brief(torch.tensor(2.0)) == 2.0 and values.brief("a") == "a"
    assert values.brief(torch.zeros(2)) == "Tensor" and values.brief([1]) == "list"
    assert values.has_tensors({"a": [torch.zeros(1)]}) and not values.has_tensors([1, "a"])

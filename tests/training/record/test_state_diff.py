"""The first difference of two states is named, with how far apart they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node, StoredCheckpoint
from branchtrack.training.record import state_diff
from tests.checkpoints.tensors_for_tests import manifest_of, tensors

State = dict[str, Any]
WEIGHT = np.array([[1, 2], [3, 4]], "<f4")


def node(settings: State | None = None, groups: list[State] | None = None) -> Node:
    facts: State = dict.fromkeys(Node.__dataclass_fields__)
    return Node(**{**facts, "settings": settings or {}, "param_groups": groups or []})


def first(
    store: Store,
    recorded: dict[str, np.ndarray],
    replayed: dict[str, np.ndarray],
    states: tuple[State, State] = ({}, {}),
    settings: tuple[State, State] = ({}, {}),
) -> Any:
    pack = store.put(tensors(recorded), {}) if recorded else None
    expected = manifest_of(recorded, states[0])
    locations = {} if pack is None else {each.digest: each for each in pack.locations}
    stored = StoredCheckpoint("", expected.to_json(), locations, 1, 1, 1)
    digested = manifest_of(replayed, states[1]), dict(tensors(replayed))
    return state_diff.first(store, stored, node(settings[0]), digested, settings[1], [])


def test_equal_states_have_no_difference(store: Store) -> None:
    assert first(store, {"model/w": WEIGHT}, {"model/w": WEIGHT.copy()}) is None


def test_of_a_tensor_the_first_element_and_the_largest_difference_are_told(store: Store) -> None:
    other = WEIGHT.copy()
    other[1] = [3.5, 2.0]
    difference = first(store, {"model/w": WEIGHT}, {"model/w": other})
    assert (difference["name"], difference["kind"]) == ("model/w", "tensor")
    assert (difference["index"], difference["elements_differing"]) == ([1, 0], 2)
    assert difference["largest"] == 2.0 and difference["tensors_differing"] == 1


@pytest.mark.parametrize(("value", "largest"), [(np.nan, None), (np.inf, None), (-1.0, 2.0)])
def test_a_single_number_differs_too(store: Store, value: float, largest: float | None) -> None:
    recorded, replayed = np.array(1.0, "<f8"), np.array(value, "<f8")
    difference = first(store, {"model/scalar": recorded}, {"model/scalar": replayed})
    assert (difference["index"], difference["largest"]) == ([0], largest)


def test_a_zero_of_another_sign_differs_by_nothing_and_is_told(store: Store) -> None:
    difference = first(store, {"a": np.array([0.0], "<f4")}, {"a": np.array([-0.0], "<f4")})
    assert (difference["elements_differing"], difference["largest"]) == (1, 0.0)


def test_a_tensor_that_is_missing_added_or_of_another_shape_has_no_elements(store: Store) -> None:
    missing = first(store, {"model/w": WEIGHT}, {})
    assert missing["found"] is None and "index" not in missing
    added = first(store, {}, {"model/w": WEIGHT})
    assert added["expected"] is None and added["found"]
    reshaped = first(store, {"model/w": WEIGHT}, {"model/w": WEIGHT.reshape(4)})
    assert "index" not in reshaped


def test_values_of_the_state_are_named_by_their_path(store: Store) -> None:
    states = ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}})
    difference = first(store, {}, {}, states)
    assert difference == {"name": "a/b[1]/c", "kind": "state", "expected": 2, "found": 3}
    gone = first(store, {}, {}, ({"a": 1}, {}))
    assert (gone["name"], gone["expected"], gone["found"]) == ("a", 1, None)


def test_settings_are_compared_as_the_database_returns_them(store: Store) -> None:
    nan = float("nan")
    assert first(store, {}, {}, settings=({"lr": nan, "b": [1]}, {"lr": nan, "b": (1,)})) is None
    difference = first(store, {}, {}, settings=({"lr": 1}, {"lr": 1.0}))
    assert (difference["kind"], difference["name"]) == ("settings", "lr")


def test_tensors_come_before_values(store: Store) -> None:
    difference = first(store, {"a": WEIGHT}, {"a": WEIGHT * 2}, ({"a": 1}, {"a": 2}))
    assert difference["kind"] == "tensor"

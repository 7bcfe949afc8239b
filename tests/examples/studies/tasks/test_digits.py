"""The digits have three parts, always the same ones."""

from __future__ import annotations

import torch

from branchtrack.examples.studies.tasks import digits


def test_parts_are_the_same_every_time() -> None:
    parts, again = digits.parts(), digits.parts()
    assert sum(len(labels) for _, labels in parts.values()) == 1797
    assert all(torch.equal(parts[name][0], again[name][0]) for name in parts)


def test_the_network_has_a_score_for_each_digit_at_every_size() -> None:
    assert digits.network(4)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)

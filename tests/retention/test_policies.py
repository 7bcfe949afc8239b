"""Policies are checked by field, stored as JSON and described in words."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.retention import policies
from branchtrack.retention.policies import Best, Policy, policy


@pytest.mark.parametrize(
    ("field", "how"),
    [
        ("keep", {"keep": "some"}),
        ("keep", {"keep": None}),
        ("keep-last", {"last": "0"}),
        ("keep-last", {"last": "two"}),
        ("keep-best", {"best": ["loss", "-1"]}),
        ("keep-best", {"best": ["  ", "1"]}),
        ("every", {"every": "1.5"}),
        ("every", {"every": "9" * 30}),
        ("drop-optimizer-after", {"drop_optimizer_after": "x"}),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(field: str, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        policy(**{"keep": "thin", **how})
    assert refused.value.field == field


def test_the_best_of_a_metric_is_the_lowest_unless_its_name_says_otherwise() -> None:
    modes = {
        "loss": "min",
        "eval_accuracy": "max",
        "eval/F1": "max",
        "perplexity": "min",
        "score:min": "min",
        "loss:max": "max",
    }
    for name, mode in modes.items():
        best = policy("thin", best=[name, "2"]).best
        assert best == Best(name.removesuffix(":min").removesuffix(":max"), 2, mode)


def test_a_stored_policy_is_read_back() -> None:
    full = policy("heads", last="2", best=["acc", 3], every="10", drop_optimizer_after=100)
    assert policies.from_json(full.as_json()) == full
    assert Policy().as_json() is None and policies.from_json(None) == Policy()


def test_a_policy_says_what_it_does() -> None:
    full = policy("thin", last=2, best=["acc", 3], every=10, drop_optimizer_after=100)
    assert full.words == (
        "keep thin, the last 2 of each branch, the 3 with the highest acc, every 10 steps, "
        "no optimizer state 100 steps before a head"
    )
    assert Policy().words == "keep all"

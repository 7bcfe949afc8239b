"""Whether a query holds: true, false, unknown."""

from __future__ import annotations

import math

import pytest

from branchtrack.core.queries.evaluation import Facts, holds, lookup
from branchtrack.core.queries.language import parse
from branchtrack.core.queries.terms import Curve

FACTS = Facts(
    now=1000.0,
    texts={"run": "digits", "branch": "cooler-2", "kind": "fork", "status": "failed"},
    tags=frozenset(("good", "exp/3")),
    step=100,
    created_at=900.0,
    settings={
        "lr": 0.01,
        "optimizer": "adamw",
        "nesterov": True,
        "clip": None,
        "data.mixture": {"code": 0.5, "a.b": 2},
        "both": 1,
    },
    metrics={"loss": 2.0, "eval/loss": math.nan, "worst": math.inf, "both": 2, "old": "nan"},
    curves={Curve("best", "loss"): 1.5},
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", True),
        ("lr>1e-3", True),
        ("lr=0.01 loss<=2", True),
        ("lr!=0.01", False),
        ("optimizer=adamw", True),
        ("optimizer<b", True),
        ("nesterov=true", True),
        ("data.mixture.code=0.5 and data.mixture.a.b=2", True),
        ("step>=100", True),
        ("both=1", True),
        ("metric.both=2 setting.both=1", True),
        ("best(loss)<2", True),
        ("run:digits branch:cooler* kind:fork", True),
        ("branch:cooler", False),
        ("name:OOL", True),
        ("tag:good tag:exp/*", True),
        ("tag:bad", False),
        ("step:50..100", True),
        ("step:99", False),
        ("since:2m", True),
        ("since:1m", False),
        ("failed:yes", True),
        ("failed:no or status:lost", False),
    ],
)
def test_a_query_holds_or_not(query: str, expected: bool) -> None:
    assert holds(parse(query), FACTS) is expected


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "="])
def test_nan_compares_with_nothing(operator: str) -> None:
    assert holds(parse(f"eval/loss{operator}1"), FACTS) is False
    assert holds(parse(f"old{operator}1"), FACTS) is False


def test_nan_is_different_from_everything() -> None:
    assert holds(parse("eval/loss!=1"), FACTS) is True
    assert holds(parse("metric.worst>1e300"), FACTS) is True


@pytest.mark.parametrize(
    "query",
    [
        "missing<1",
        "clip<1",
        "setting.loss<5",
        "metric.lr<5",
        "last(loss)<5",
        "lr=text",
        "optimizer<1",
        "nesterov=1",
        "nesterov<true",
        "data.mixture=1",
        "group:x",
        "actor:*",
    ],
)
def test_what_is_missing_or_of_another_type_is_unknown(query: str) -> None:
    assert holds(parse(query), FACTS) is None
    assert holds(parse(f"not {query}"), FACTS) is None
    assert holds(parse(f"{query} or lr>0"), FACTS) is True
    assert holds(parse(f"{query} and lr<0"), FACTS) is False
    assert holds(parse(f"{query} and lr>0"), FACTS) is None
    assert holds(parse(f"{query} or lr<0"), FACTS) is None


def test_a_tag_is_unknown_while_only_some_are_known() -> None:
    some = Facts(now=0.0, tags=frozenset(("good",)), all_tags=False)
    assert holds(parse("tag:good"), some) is True
    assert holds(parse("tag:bad"), some) is None


def test_everything_about_nothing_is_unknown() -> None:
    nothing = Facts(now=0.0)
    for query in ("status:failed", "failed:no", "step:1", "since:1d", "name:x", "lr<1"):
        assert holds(parse(query), nothing) is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("a*", True),
        ("*c", True),
        ("a*b*c", True),
        ("abc*c", False),
        ("a*c*b", False),
        ("**b**", True),
        ("*a" * 500 + "*b", False),
    ],
)
def test_stars_stand_for_anything(pattern: str, fits: bool) -> None:
    facts = Facts(now=0.0, texts={"run": "abc" if len(pattern) < 20 else "a" * 80})
    assert holds(parse(f"run:{pattern}"), facts) is fits


def test_values_are_looked_up_by_name_before_paths() -> None:
    values = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}}
    assert lookup(values, "a.b") == 1 and lookup(values, "a.c.d") == 3
    assert lookup(values, "a.x") is None and lookup(values, "b") is None

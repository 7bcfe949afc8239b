"""Which stretch of a branch is tried again, and what a certificate may claim."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from branchtrack.core import exactness
from branchtrack.core.exactness import TESTED_VERSIONS, Trial
from branchtrack.core.records import Certificate, Node
from branchtrack.errors import InvalidInput

ROOT = Path(__file__).parent.parent.parent
HERE: dict[str, Any] = {
    "branchtrack": "0.1.0",
    "python": "3.11.7",
    "torch": "2.13.0+cpu",
    "transformers": "5.23.0",
    "accelerate": "1.15.0",
    "numpy": "2.4.6",
    "threads": 1,
    "device": "cpu",
    "git": "abc",
    "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
}


def node(name: str, step: int, segment: str = "one", kind: str = "checkpoint") -> Node:
    return Node(
        seq=0,
        id=name,
        run_id="run",
        branch_id="branch",
        segment_id=segment,
        parent_id=None,
        step=step,
        epoch=0.0,
        kind=kind,
        changes=(),
        settings={},
        param_groups=[],
        metrics={},
        state_digest="",
        message="",
        actor="",
        environment={},
        restored=None,
        effective=None,
        created_at=0.0,
    )


def certificate(**facts: Any) -> Certificate:
    given: dict[str, Any] = {"difference": None, "untested": [], **facts}
    return Certificate(
        id="c",
        run_id="r",
        branch_id="b",
        from_node_id="a",
        to_node_id="z",
        digest="",
        environment={},
        actor="ann",
        created_at=0.0,
        **given,
    )


MADE = [
    node("fork", 10, kind="fork"),
    node("first", 10),
    node("a", 20),
    node("b", 25),
    node("c", 40),
    node("after", 40, "two", "fork"),
    node("last", 50, "two"),
]


@pytest.mark.parametrize(
    ("made", "asked", "expected"),
    [
        (MADE, {}, ("after", "last")),
        (MADE[:5], {}, ("b", "c")),
        (MADE[:6], {}, ("b", "c")),
        (MADE[:5], {"steps": 15}, ("b", "c")),
        (MADE[:5], {"steps": 16}, ("a", "c")),
        (MADE[:5], {"steps": 30}, ("first", "c")),
        (MADE, {"target": MADE[3], "steps": 6}, ("first", "b")),
        (MADE, {"start": MADE[0]}, ("fork", "c")),
        (MADE, {"start": MADE[0], "target": MADE[2]}, ("fork", "a")),
    ],
)
def test_a_stretch_lies_within_one_process(made: Any, asked: Any, expected: Any) -> None:
    start, target = exactness.choose(made, **asked)
    assert (start.id, target.id) == expected


@pytest.mark.parametrize(
    ("made", "asked", "allowed"),
    [
        ([], {}, "a later one trained from it"),
        (MADE[5:6], {}, "a later one trained from it"),
        (MADE[:2], {}, "a later one trained from it"),
        (MADE, {"target": MADE[1]}, "a node that the same process trained"),
        (MADE, {"start": MADE[0], "target": MADE[6]}, r"after \(step 40\)"),
        (MADE, {"start": MADE[4], "target": MADE[2]}, r"fork \(step 10\), first \(step 10\)"),
        (MADE[:5], {"steps": 31}, "at most 30 steps"),
    ],
)
def test_any_other_is_refused_with_what_is_allowed(made: Any, asked: Any, allowed: str) -> None:
    with pytest.raises(InvalidInput, match=allowed):
        exactness.choose(made, **asked)


def test_the_versions_that_are_tested_are_those_installed_for_the_tests() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", text, re.M))
    python = re.search(r"on Python (\d+\.\d+)", text)
    assert python is not None
    assert {**pinned, "python": python[1]}.items() >= TESTED_VERSIONS.items()


def test_nothing_lies_outside_of_where_the_tests_run() -> None:
    assert exactness.untested(HERE, HERE) == []
    assert exactness.untested(HERE, {**HERE, "git": "def", "branchtrack": "0.0.9"}) == []
    kernel = "Linux-5.10.0-23-cloud-amd64-x86_64-with-glibc2.36"
    assert exactness.untested(HERE, {**HERE, "platform": kernel}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"torch": "2.14.0"}, "torch 2.14.0 (tested: 2.13.0)"),
        ({"python": "3.12.1"}, "python 3.12.1 (tested: 3.11)"),
        ({"python": "3.1"}, "python 3.1 (tested: 3.11)"),
        ({"device": "NVIDIA H100"}, "device NVIDIA H100 (tested: cpu)"),
        ({"threads": 8}, "8 threads (tested: 1 and 2)"),
        ({"platform": "macOS-15-arm64"}, "platform macOS-15-arm64 (tested: Linux x86_64)"),
        ({"world_size": 4}, "4 processes (tested: 1 and 2)"),
    ],
)
def test_what_lies_outside_of_the_tests_is_named(change: dict[str, Any], told: str) -> None:
    now = {**HERE, **change}
    assert exactness.untested(now, now) == [told]


def test_a_package_that_is_not_used_needs_no_test() -> None:
    plain = {name: value for name, value in HERE.items() if name != "transformers"}
    assert exactness.untested(plain, plain) == []


def test_two_environments_that_differ_are_told_with_both_values() -> None:
    then = {**HERE, "threads": 2, "torch": "2.12.0"}
    assert exactness.untested(HERE, then) == [
        "threads 2 in the first training, 1 in this",
        "torch 2.12.0 in the first training, 2.13.0+cpu in this",
    ]
    old = {**HERE, "platform": "Linux-6.1.0-x86_64-with-glibc2.31"}
    (told,) = exactness.untested(HERE, old)
    assert "glibc2.31 in the first training" in told
    assert exactness.untested(HERE, HERE, ["a loader of its own"]) == ["a loader of its own"]


def test_another_script_is_told_where_both_are_known() -> None:
    mine, theirs = {**HERE, "script": "aa"}, {**HERE, "script": "bb"}
    told = ["the script's file is not the one that created the node"]
    assert exactness.untested(mine, theirs) == told
    assert exactness.untested(mine, mine) == []
    assert exactness.untested(mine, HERE) == exactness.untested(HERE, mine) == []


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ({}, "exact", "certified exact"),
        (
            {"untested": ["8 threads"]},
            "equal",
            "equal in this trial; outside the tested matrix: 8 threads",
        ),
        (
            {
                "difference": {
                    "name": "model/w",
                    "kind": "tensor",
                    "expected": "1",
                    "found": "2",
                    "index": [3, 1],
                    "largest": 0.0125,
                    "tensors_differing": 3,
                }
            },
            "differs",
            "the tensor model/w differs, first at [3, 1], by up to 0.0125; so do 2 others",
        ),
        (
            {
                "difference": {
                    "name": "model/w",
                    "kind": "tensor",
                    "expected": "1",
                    "found": "2",
                    "index": [0],
                    "largest": None,
                    "tensors_differing": 2,
                }
            },
            "differs",
            "first at [0]; so does 1 other",
        ),
        (
            {"difference": {"name": "model/w", "kind": "tensor", "expected": None, "found": "2"}},
            "differs",
            "the tensor model/w was not there",
        ),
        (
            {"difference": {"name": "model/w", "kind": "tensor", "expected": "1", "found": None}},
            "differs",
            "the tensor model/w was there, and is not",
        ),
        (
            {"difference": {"name": "loop/epoch", "kind": "state", "expected": 1, "found": None}},
            "differs",
            "the value loop/epoch is missing, and was 1",
        ),
        (
            {"difference": {"name": "lr", "kind": "settings", "expected": 0.1, "found": "x" * 99}},
            "differs",
            'the setting lr is "xxx',
        ),
    ],
)
def test_a_certificate_says_no_more_than_it_knows(
    facts: dict[str, Any], verdict: str, words: str
) -> None:
    found = certificate(**facts)
    assert exactness.verdict(found) == verdict and words in exactness.words(found)
    assert exactness.verdict(replace(found, untested=["x"])) != "exact"


def test_a_trial_comes_back_from_its_text() -> None:
    trial = Trial("c", "a", "b", "/tmp/progress")
    assert Trial.from_text(trial.to_text()) == trial

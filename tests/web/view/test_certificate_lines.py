"""A certificate beside its branch says what was tried, and what it says nothing of."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.records import Certificate
from branchtrack.db.views.tree_outline import NodeSummary
from branchtrack.web.view import certificate_lines
from branchtrack.web.view.certificate_lines import Certified

DIFFERENCE = {"name": "model/w", "kind": "tensor", "expected": None, "found": None}


def node(name: str, step: int) -> NodeSummary:
    facts: dict[str, Any] = dict.fromkeys(NodeSummary.__annotations__)
    return NodeSummary(**{**facts, "id": name, "step": step})


def certificate(
    difference: dict[str, Any] | None = None, untested: list[str] | None = None
) -> Certificate:
    return Certificate(
        "c", "r", "b", "start", "target", "d", difference, untested or [], {}, "me", 1.0
    )


def certified(record: Certificate, head: int = 20) -> Certified:
    return Certified(record, node("start", 10), node("target", 20), head)


@pytest.mark.parametrize(
    ("record", "word", "style"),
    [
        (certificate(), "exact", "held"),
        (certificate(untested=["another torch"]), "equal", "changed"),
        (certificate(DIFFERENCE, ["another torch"]), "differs", "failed"),
    ],
)
def test_a_verdict_has_one_word_and_one_colour(record: Certificate, word: str, style: str) -> None:
    assert (certified(record).word, certified(record).style) == (word, style)


def test_a_branch_that_has_grown_since_says_so() -> None:
    assert not certified(certificate()).is_behind
    grown = certified(certificate(), head=1500)
    assert grown.is_behind and "now at step 1,500" in grown.title
    assert grown.updates == 10


def test_nodes_outside_of_what_was_tried_are_told_so() -> None:
    tried = certified(certificate())
    assert tried.covers(10) == tried.covers(15) == tried.covers(20) == ""
    assert "1 step after" in tried.covers(21)
    assert "before" in tried.covers(9)


def test_only_a_difference_is_put_into_words() -> None:
    assert certified(certificate()).difference == ""
    assert "model/w" in certified(certificate(DIFFERENCE)).difference


def test_a_certificate_whose_nodes_were_not_read_is_not_shown() -> None:
    nodes = {name: node(name, step) for name, step in (("start", 10), ("target", 20))}
    assert certificate_lines.find(None, nodes, None) is None
    assert certificate_lines.find(certificate(), {"start": nodes["start"]}, None) is None
    shown = certificate_lines.find(certificate(), nodes, None)
    assert shown is not None and shown.head == 20

"""Terms as text, and what is read off them."""

from __future__ import annotations

from branchtrack.core.queries.language import parse
from branchtrack.core.queries.terms import Curve, Filter, curves, required, walk


def test_terms_are_written_so_that_they_can_be_read_again() -> None:
    text = '(a<1 or not b="x y") and tag:"a b" and `or`>2 and setting.lr!=true and min(`x y`)<0.5'
    assert str(parse(text)) == text


def test_leaves_are_in_the_order_of_the_query() -> None:
    assert [str(leaf) for leaf in walk(parse("a<1 or not (tag:x b>2)"))] == ["a<1", "tag:x", "b>2"]


def test_only_what_must_hold_is_required() -> None:
    query = parse("run:demo (kind:fork and a<1) (tag:x or tag:y) not tag:z")
    assert required(query) == [Filter("run", "demo"), Filter("kind", "fork")]
    assert required(parse("run:a or run:b")) == []


def test_curves_are_named_once() -> None:
    query = parse("best(loss)<2 or best(loss)>3 or last(acc)<1 or loss<1")
    assert curves(query) == {Curve("best", "loss"), Curve("last", "acc")}

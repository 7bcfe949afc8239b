"""Queries as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.core.queries.language import DEEPEST, moment, parse, parse_subject, stretch
from branchtrack.core.queries.terms import (
    CHOICES,
    FILTERS,
    FUNCTIONS,
    OPERATORS,
    And,
    Comparison,
    Curve,
    Filter,
    Name,
    Not,
    Or,
    Term,
    Words,
)
from branchtrack.errors import InvalidInput

A, B, C = (Comparison(Name(letter), "<", 1.0) for letter in "abc")
RUNNING = Filter("status", "running")


@pytest.mark.parametrize(
    ("query", "term"),
    [
        ("", And(())),
        ("  ", And(())),
        ("lr>1e-3", Comparison(Name("lr"), ">", 0.001)),
        ("lr==-1", Comparison(Name("lr"), "=", -1.0)),
        ("data.mixture.code!=.5", Comparison(Name("data.mixture.code"), "!=", 0.5)),
        ("setting.lr<1", Comparison(Name("lr", "setting"), "<", 1.0)),
        ("metric.`a b`<1", Comparison(Name("a b", "metric"), "<", 1.0)),
        ("`setting.x`<1", Comparison(Name("setting.x"), "<", 1.0)),
        ("optimizer=adamw", Comparison(Name("optimizer"), "=", "adamw")),
        ("nesterov=true", Comparison(Name("nesterov"), "=", True)),
        ('nesterov="true"', Comparison(Name("nesterov"), "=", "true")),
        ("best(eval/loss)<=2.5", Comparison(Curve("best", "eval/loss"), "<=", 2.5)),
        ("best<2.5", Comparison(Name("best"), "<", 2.5)),
        ("status:failed", Filter("status", "failed")),
        ("a<1 and b<1 or c<1", Or((And((A, B)), C))),
        ("a<1 AND (b<1 OR c<1)", And((A, Or((B, C))))),
        ("a<1 b<1 c<1", And((A, B, C))),
        ("not a<1 b<1", And((Not(A), B))),
        ("not (a<1 b<1)", Not(And((A, B)))),
        ("((a<1))", A),
    ],
)
def test_a_query_is_read(query: str, term: Term) -> None:
    assert parse(query) == term


@pytest.mark.parametrize(
    ("query", "position", "allowed"),
    [
        ("lr>", 3, "a number as 1e-3"),
        ("lr", 2, "name:TEXT"),
        ("lr>1e-3 and )", 12, "a comparison as lr>1e-3"),
        ("(a<1", 4, "a closing parenthesis"),
        ("a<1)", 3, "the end"),
        ("a<1 or", 6, "a comparison as"),
        ("a<and b<1", 2, "a text in quotes"),
        ("1<lr", 0, "a comparison as"),
        ("mean(loss)<1", 0, "before a parenthesis: best, worst"),
        ("best(loss", 9, "a closing parenthesis"),
        ("best(1)<1", 5, "the name of a metric"),
        ("best(setting.lr)<1", 15, "the name of one metric"),
        ("status:dead", 0, "status: running (or training), paused"),
        ("a<1 step:x", 4, "a stretch as 100..200"),
        ("step:5..1", 0, "a stretch as 100..200"),
        ("since:yesterday", 0, "2026-11-29"),
        ("a<1e999", 2, "a number of at most 1e308"),
        ("lr<inf", 3, 'a finite number; the text "inf" in quotes'),
        ("loss != NaN", 8, 'a finite number; the text "NaN" in quotes'),
        ("best(loss)>Infinity", 11, "a finite number"),
        ("setting.<1", 0, "a name after setting or metric"),
        ("a`b`<1", 0, "backticks"),
    ],
)
def test_what_cannot_be_read_is_marked_with_what_could_be_there(
    query: str, position: int, allowed: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        parse(query)
    assert error.value.facts["position"] == position
    assert allowed in error.value.allowed


def test_a_text_may_be_called_as_no_number_is() -> None:
    assert parse('mode="inf"') == Comparison(Name("mode"), "=", "inf")


def test_depth_is_limited() -> None:
    parse("(" * DEEPEST + "a<1" + ")" * DEEPEST)
    for opening, closing in (("(", ")"), ("not ", "")):
        with pytest.raises(InvalidInput, match="within each other"):
            parse(opening * (DEEPEST + 1) + "a<1" + closing * (DEEPEST + 1))


def test_a_stretch_is_one_step_or_several() -> None:
    assert stretch("100..200") == (100, 200) and stretch("7") == (7, 7)
    assert stretch("7..") is None and stretch("") is None


def test_since_is_a_time_ago_or_a_day() -> None:
    assert moment("2h", 10_000.0) == 2_800.0
    assert moment("1970-01-02", 0.0) == 86400.0
    assert moment("1970-01-01T01:00+01:00", 5.0) == 0.0
    assert moment("soon", 0.0) is None


names = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="`"), min_size=1, max_size=12
)
words = st.sampled_from(["lr", "data.mixture.code", "eval/loss", "or", "not", "best", "setting.x"])
literals = st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
free_filters = sorted(FILTERS.keys() - CHOICES.keys() - {"step", "since"})
filters = (
    st.builds(Filter, st.sampled_from(free_filters), st.text(max_size=10))
    | st.sampled_from([Filter("step", "1..2"), Filter("since", "7d"), Filter("kind", "fork")])
    | st.builds(Filter, st.just("status"), st.sampled_from(CHOICES["status"]))
)
subjects = st.builds(Name, names | words, st.sampled_from(["", "setting", "metric"])) | st.builds(
    Curve, st.sampled_from(FUNCTIONS), names | words
)
comparisons = st.builds(Comparison, subjects, st.sampled_from(OPERATORS), literals)


def joined(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    several = st.lists(terms, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, terms) | st.builds(And, several) | st.builds(Or, several)


@given(st.recursive(comparisons | filters, joined, max_leaves=8))
def test_a_term_is_read_back_from_its_text(term: Term) -> None:
    assert parse(str(term)) == term


pieces = st.sampled_from(
    "lr loss best( setting. metric. ` \" ' ( ) < <= = != : tag: step: since: status: failed "
    "1e-3 -2 .5 1e999 and or not true , \\ é \x00".split(" ")
)


@given(st.lists(pieces | st.text(max_size=4), max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_position(text: str) -> None:
    try:
        term = parse(text)
    except InvalidInput as error:
        assert error.field == "query" and 0 <= error.facts["position"] <= len(text)
    else:
        assert parse(str(term)) == term


@pytest.mark.parametrize(
    ("query", "term"),
    [
        ("gpt2", Words("gpt2")),
        ("GPT2 lr<1", And((Words("GPT2"), Comparison(Name("lr"), "<", 1.0)))),
        ("lr<1 2024", And((Comparison(Name("lr"), "<", 1.0), Words("2024")))),
        ('"two words" or 7b', Or((Words("two words"), Words("7b")))),
        ("not old", Not(Words("old"))),
        ("100%", Words("100%")),
        ("%_", Words("%_")),
        ("a (b or c)", None),
        ("a<1 (b or c)", And((A, Or((Words("b"), Words("c")))))),
        ("status:training archived:yes", And((RUNNING, Filter("archived", "yes")))),
    ],
)
def test_a_query_over_runs_searches_for_what_is_not_compared(query: str, term: Term | None) -> None:
    if term is None:
        with pytest.raises(InvalidInput):
            parse(query, of_runs=True)
        return
    assert parse(query, of_runs=True) == term
    assert parse(str(term), of_runs=True) == term


@pytest.mark.parametrize(
    ("query", "position", "allowed"),
    [
        ("lr<", 3, "a number"),
        ("lr<>1", 3, "a number"),
        ("gpt kind:fork", 4, "before a colon: run, branch, name, status"),
        ("gpt and", 7, "a comparison"),
        ("archived:maybe", 0, "archived: yes or no"),
        ("`open", 0, "a closing `"),
    ],
)
def test_of_a_query_over_runs_the_mistake_is_marked(
    query: str, position: int, allowed: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        parse(query, of_runs=True)
    assert error.value.facts["position"] == position
    assert allowed in error.value.allowed


def test_one_subject_is_read_without_a_comparison() -> None:
    assert parse_subject("best(eval_loss)") == Curve("best", "eval_loss")
    with pytest.raises(InvalidInput):
        parse_subject("lr lr")

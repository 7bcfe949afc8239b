"""A query cut into tokens, and where it cannot be."""

from __future__ import annotations

import pytest

from branchtrack.core.queries.tokens import LONGEST, tokenize, unquoted
from branchtrack.errors import InvalidInput


def kinds(query: str) -> str:
    return " ".join(token.kind for token in tokenize(query))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "end"),
        ("lr>1e-3", "name operator number end"),
        ("lr >= -.5", "name operator number end"),
        ("best(eval_loss)<2.5", "name open name close operator number end"),
        ("data.mixture.code='a b'", "name operator text end"),
        ("metric.`my loss`!=2", "name operator number end"),
        ("status:failed)", "filter close end"),
    ],
)
def test_a_query_is_cut_into_tokens(query: str, expected: str) -> None:
    assert kinds(query) == expected


def test_a_filter_has_its_value_with_or_without_quotes() -> None:
    values = [token.value for token in tokenize("tag:a/b-c tag:\"x y\" tag:'it\\'s'")]
    assert values == ["a/b-c", "x y", "it's", ""]


def test_positions_count_characters() -> None:
    assert [token.position for token in tokenize("a  <1")] == [0, 3, 4, 5]


@pytest.mark.parametrize(
    ("query", "position"),
    [('a="x', 2), ("a<1 & b<2", 4), ("a<1.2.3", 2), ("speed:1", 0), ("tag: x", 4), ("a<1x", 2)],
)
def test_what_means_nothing_is_marked(query: str, position: int) -> None:
    with pytest.raises(InvalidInput) as error:
        tokenize(query)
    assert error.value.field == "query" and error.value.facts["position"] == position
    assert f"{query[:position]}▸{query[position:]}" in error.value.what


def test_a_long_query_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 2,000 characters"):
        tokenize("a" * (LONGEST + 1))


def test_escapes_are_taken_out_of_a_text() -> None:
    assert unquoted(r'"a\"b\\c"') == r'a"b\c'


@pytest.mark.parametrize(
    "query", ["-tag:t3", "-lr<1", "-(a<1)", "- lr<1", "a<1 -b<1", "not -a<1", "(-a<1)", "-5", "--x"]
)
@pytest.mark.parametrize("words", [True, False])
def test_a_minus_before_a_term_is_refused_with_not(query: str, words: bool) -> None:
    with pytest.raises(InvalidInput, match="write `not ...` for the opposite") as caught:
        tokenize(query, words=words)
    assert caught.value.position == query.index("-")


@pytest.mark.parametrize("query", ["-(run-0001 or tag:t3)", "- run-0001", "run -0001", "a - b"])
def test_a_minus_before_words_is_refused_with_quotes(query: str) -> None:
    with pytest.raises(InvalidInput, match='"-..." for that text'):
        tokenize(query, words=True)


@pytest.mark.parametrize("query", ["run-0001", "lr<-1", "lr > -1e-3", '"-x"', "2026-11-29", "a%-b"])
def test_a_minus_of_a_word_or_a_value_is_none_of_a_term(query: str) -> None:
    assert tokenize(query, words=True)[0].position == 0

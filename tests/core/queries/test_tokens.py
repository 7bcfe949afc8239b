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

"""Every error says what happened, what is safe and the way out, in text that any reader takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from branchtrack import errors
from branchtrack.errors import BranchtrackError, printable, shown

#: One of every error that words its own message.
WORDED = [
    errors.InvalidInput("lr", -1, "a number greater than 0"),
    errors.NameTaken("run", "digits", "digits-2"),
    errors.PortInUse("127.0.0.1", 5000),
    errors.NotFound("run", "digts", ["digits"]),
    errors.Ambiguous("node", "ab", ["abc", "abd"]),
    errors.IllegalTransition("request", "verified", "applied"),
    errors.BranchTaken("digits/main", "host:1:2"),
    errors.HomeError("/home/x", "It is a file."),
    errors.ReadOnlyHome("/home/x"),
    errors.UntrustedHome("/home/x"),
]


def family(error: type[BranchtrackError]) -> Iterator[type[BranchtrackError]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


def test_the_tree_at_the_top_names_every_error() -> None:
    defined = (error for error in family(BranchtrackError) if error.__module__ == errors.__name__)
    names = {error.__name__ for error in defined}
    drawn = {word for word in (errors.__doc__ or "").split() if word in vars(errors)}
    assert names == drawn


@pytest.mark.parametrize("error", WORDED, ids=lambda error: type(error).__name__)
def test_an_error_that_words_itself_has_a_way_out(error: BranchtrackError) -> None:
    assert error.what.endswith(".") and (error.safe or error.fix)
    assert str(error) == " ".join(text for text in (error.what, error.safe, error.fix) if text)


@pytest.mark.parametrize("error", WORDED, ids=lambda error: type(error).__name__)
def test_the_facts_of_an_error_are_its_attributes(error: BranchtrackError) -> None:
    assert error.facts
    assert {name: getattr(error, name) for name in error.facts} == error.facts


def test_a_message_has_no_text_that_a_database_refuses() -> None:
    error = BranchtrackError("a\x00b", safe="\ud800", fix="c")
    assert str(error) == "ab ? c"
    assert printable("ä\x00") == "ä"


def test_an_unknown_name_that_would_break_the_line_is_quoted() -> None:
    assert "Did you mean: loss, 'a\\nb', ''?" in str(
        errors.NotFound("metric", "los", ["loss", "a\nb", ""])
    )


def test_a_value_is_shown_in_a_length_that_fits() -> None:
    assert shown("abc") == "'abc'"
    assert len(shown("x" * 500)) == 80 and shown("x" * 500).endswith("…")


def test_a_value_that_cannot_be_written_out_is_shown_by_its_type() -> None:
    assert shown(10**5000) == "that int"

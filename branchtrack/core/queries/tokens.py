"""The text of a query cut into tokens, and the error that marks where it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from branchtrack.core.queries.terms import FILTERS
from branchtrack.errors import InvalidInput

#: Characters of a query.
LONGEST = 2000
_SHOWN = 40
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<filter>[^\W\d]\w*:)
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<name>[^\W\d][\w./@-]*(?:`[^`]+`)?|`[^`]+`)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator><=|>=|!=|==|<|>|=)
    | (?P<open>\()
    | (?P<close>\))""",
    re.VERBOSE | re.DOTALL,
)
#: What people search for may begin with any character.
_WORD = re.compile(r"""(?P<word>[^\s()"'`<>=!:]+)""")
_VALUE = re.compile(r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<plain>[^\s()"'`]+)""")


@dataclass(frozen=True)
class Token:
    """A piece of a query: its kind, its text, and the index of its first character.

    The text of a ``filter`` is its word, and ``value`` what follows the colon.
    """

    kind: str
    text: str
    position: int
    value: str = ""


def tokenize(
    query: str, filters: Collection[str] = tuple(FILTERS), *, words: bool = False
) -> list[Token]:
    """Return the tokens of a query; the last one is of kind ``end``.

    ``filters`` are those that it may have; with ``words`` any other text is a ``word``.

    Raises:
        InvalidInput: the query is too long, has a character that means nothing, or a term with
        a minus sign before it.
    """
    if len(query) > LONGEST:
        raise InvalidInput("query", query[:_SHOWN] + "...", f"at most {LONGEST:,} characters")
    tokens, position = list[Token](), 0
    while position < len(query):
        if query[position] == "-" and not _can_have_minus(tokens, position):
            # Elsewhere it leaves out; searched for as text it would match nothing, or the opposite.
            quoted = ', or "-..." for that text' if words else ""
            raise unreadable(query, position, f"write `not ...` for the opposite{quoted}")
        match = _TOKEN.match(query, position)
        if match is None and words:
            match = _WORD.match(query, position)
        if match is None:
            raise unreadable(query, position, _meant(query[position]))
        kind, start = match.lastgroup or "", position
        position = match.end()
        if kind == "filter":
            token, position = _filter(query, match.group()[:-1], start, position, filters)
            tokens.append(token)
        elif kind == "word" and tokens and _joins(tokens[-1], start):
            before = tokens.pop()
            tokens.append(Token(kind, before.text + match.group(), before.position))
        elif kind != "space":
            tokens.append(Token(kind, match.group(), start))
    return [*tokens, Token("end", "", len(query))]


def unquoted(text: str) -> str:
    """Return what is between the quotes of a text."""
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def unreadable(query: str, position: int, allowed: str) -> InvalidInput:
    """Return the error of a query that cannot be read from ``position`` on."""
    before, after = query[:position], query[position:]
    shown = f"{'…' * (len(before) > _SHOWN)}{before[-_SHOWN:]}▸{after[:_SHOWN]}"
    shown += "…" if len(after) > _SHOWN else ""
    where = "at its end" if not after else f"at character {position + 1}"
    return InvalidInput(
        "query",
        query,
        allowed,
        what=f"The query cannot be read {where}, after ▸: {shown}",
        position=position,
    )


def _can_have_minus(tokens: list[Token], position: int) -> bool:
    """Return whether a minus sign may follow, of a negative value or within a word."""
    return bool(tokens) and (tokens[-1].kind == "operator" or _joins(tokens[-1], position))


def _joins(token: Token, start: int) -> bool:
    """Return whether a word that begins at ``start`` goes on with a token, as in ``100%``."""
    is_text = token.kind in ("number", "name", "word")
    return is_text and token.position + len(token.text) == start


def _filter(
    query: str, word: str, start: int, position: int, filters: Collection[str]
) -> tuple[Token, int]:
    if word not in filters:
        raise unreadable(query, start, f"before a colon: {', '.join(filters)}")
    match = _VALUE.match(query, position)
    if match is None:
        raise unreadable(query, position, f"{FILTERS[word]}, right after the colon")
    value = unquoted(match.group()) if match.lastgroup == "text" else match.group()
    return Token("filter", word, start, value), match.end()


def _meant(character: str) -> str:
    if character in "\"'`":
        return f"a closing {character}"
    if character in "&|!":
        return "and, or, not as words"
    if character in "+-.0123456789":
        return "numbers as 0.5, 1e-3"
    return "names, numbers, texts in quotes, < <= > >= = !=, word:value, and, or, not, parentheses"

"""Queries as people write them: ``lr>1e-3 and eval_loss<2.5 status:failed not (tag:old)``.

    query      = and-terms ("or" and-terms)*
    and-terms  = term ("and"? term)*
    term       = "not" term | "(" query ")" | word ":" value | subject operator literal
    subject    = name | function "(" name ")"
    literal    = number | text in quotes | word

In a query over runs a text that is not compared is a term, too: it is searched for.

It knows no database: `evaluation` says whether a query holds.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from branchtrack.core.queries.terms import (
    CHOICES,
    FILTERS,
    FUNCTIONS,
    OPERATORS,
    RUN_FILTERS,
    SCOPES,
    SYNONYMS,
    And,
    Comparison,
    Curve,
    Filter,
    Literal,
    Name,
    Not,
    Or,
    Term,
    Words,
)
from branchtrack.core.queries.tokens import Token, tokenize, unquoted, unreadable
from branchtrack.errors import InvalidInput

#: Parentheses and ``not`` within each other.
DEEPEST = 30
_TERM = "a comparison as lr>1e-3, a filter as status:failed, not, or ("
_WORDS = ("and", "or", "not")
#: Kinds of tokens that a query over runs searches for where they are not compared.
_SEARCHED = ("text", "number", "word")
#: Words for what is no number that values are compared with.
_NO_NUMBERS = ("inf", "infinity", "nan")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_STRETCH = re.compile(r"(\d{1,18})(?:\.\.(\d{1,18}))?")


def parse(query: str, *, of_runs: bool = False) -> Term:
    """Return what a query asks for, of nodes or ``of_runs``; an empty one asks for everything.

    Raises:
        InvalidInput: the query cannot be read; it says from where, and what could be there.
    """
    reader = _Reader(query, of_runs)
    if reader.token.kind == "end":
        return And(())
    term = reader.query(0)
    if reader.token.kind != "end":
        raise reader.error("and, or, a further term, or the end")
    return term


def parse_subject(text: str) -> Name | Curve:
    """Return the setting, metric or value of a curve that a text names, and nothing else.

    Raises:
        InvalidInput: it is none.
    """
    reader = _Reader(text, False)
    subject = reader.subject()
    if reader.token.kind != "end":
        raise reader.error("a comma, or the end")
    return subject


def stretch(value: str) -> tuple[int, int] | None:
    """Return the first and the last step of ``100..200``, or of ``100``; None if it is no such."""
    match = _STRETCH.fullmatch(value)
    if match is None:
        return None
    first = int(match.group(1))
    last = int(match.group(2) or first)
    return (first, last) if first <= last else None


def moment(value: str, now: float) -> float | None:
    """Return the time that ``since:value`` means, in seconds since 1970; None if it is none."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", value)
    if match is not None:
        return now - int(match.group(1)) * _SECONDS[match.group(2)]
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


class _Reader:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str, of_runs: bool) -> None:
        self._text = text
        self._of_runs = of_runs
        filters = RUN_FILTERS if of_runs else tuple(FILTERS)
        self._tokens = tokenize(text, filters, words=of_runs)
        self._next = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def error(self, allowed: str, token: Token | None = None) -> InvalidInput:
        return unreadable(self._text, (token or self.token).position, allowed)

    def query(self, depth: int) -> Term:
        if depth > DEEPEST:
            raise self.error(f"at most {DEEPEST} parentheses or nots within each other")
        terms = [self._and_terms(depth)]
        while self._takes_word("or"):
            terms.append(self._and_terms(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _and_terms(self, depth: int) -> Term:
        terms = [self._term(depth)]
        while self._takes_word("and") or self._begins_term():
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _begins_term(self) -> bool:
        kinds = ("name", "filter", "open", *(_SEARCHED if self._of_runs else ()))
        return self.token.kind in kinds and not self._is_word("or")

    def _term(self, depth: int) -> Term:
        if depth > DEEPEST:
            raise self.error(f"at most {DEEPEST} parentheses or nots within each other")
        if self._takes_word("not"):
            return Not(self._term(depth + 1))
        if self.token.kind == "open":
            self._take()
            term = self.query(depth + 1)
            if self.token.kind != "close":
                raise self.error("a closing parenthesis")
            self._take()
            return term
        if self.token.kind == "filter":
            return self._filter()
        return self._words() if self._of_runs and self._is_searched() else self._comparison()

    def _is_searched(self) -> bool:
        if self.token.kind in _SEARCHED:
            return True
        is_name = self.token.kind == "name" and self.token.text.lower() not in _WORDS
        return is_name and self._tokens[self._next + 1].kind not in ("operator", "open")

    def _words(self) -> Words:
        token = self._take()
        text = unquoted(token.text) if token.kind == "text" else token.text.strip("`")
        return Words(text)

    def _filter(self) -> Filter:
        token = self._take()
        word = token.text
        value = SYNONYMS.get((word, token.value), token.value)
        is_valid = {"step": stretch(value), "since": moment(value, 0.0)}.get(word, value)
        if is_valid is None or value not in CHOICES.get(word, (value,)):
            raise self.error(f"{word}: {FILTERS[word]}", token)
        return Filter(word, value)

    def _comparison(self) -> Comparison:
        subject = self.subject()
        if self.token.kind != "operator":
            raise self.error(f"after a name: {' '.join(OPERATORS)}; a part of a name as name:TEXT")
        operator = self._take().text
        return Comparison(subject, "=" if operator == "==" else operator, self._literal())

    def subject(self) -> Name | Curve:
        token = self.token
        if token.kind != "name" or token.text.lower() in _WORDS:
            raise self.error(_TERM)
        self._take()
        if self.token.kind != "open":
            return self._name(token)
        if token.text not in FUNCTIONS:
            raise self.error(f"before a parenthesis: {', '.join(FUNCTIONS)}, and, or, not", token)
        self._take()
        if self.token.kind != "name":
            raise self.error("the name of a metric")
        metric = self._name(self._take())
        if metric.scope == "setting" or self.token.kind != "close":
            raise self.error("the name of one metric, and a closing parenthesis")
        self._take()
        return Curve(token.text, metric.text)

    def _name(self, token: Token) -> Name:
        scope, dot, rest = token.text.partition(".")
        if scope not in SCOPES or not dot:
            scope, rest = "", token.text
        if "`" not in rest:
            return Name(self._not_empty(rest, token), scope)
        if not rest.startswith("`"):
            raise self.error("a whole name in `backticks`", token)
        return Name(rest[1:-1], scope)

    def _not_empty(self, name: str, token: Token) -> str:
        if not name:
            raise self.error(f"a name after {' or '.join(SCOPES)} and a dot", token)
        return name

    def _literal(self) -> Literal:
        token = self.token
        if token.kind not in ("number", "text", "name") or token.text.lower() in _WORDS:
            raise self.error("a number as 1e-3, a text in quotes, true or false")
        if token.kind == "name" and token.text.lower() in _NO_NUMBERS:
            # As a word it would be compared with texts alone, and match nothing.
            raise self.error(f'a finite number; the text "{token.text}" in quotes', token)
        self._take()
        if token.kind == "text":
            return unquoted(token.text)
        if token.kind == "name":
            return {"true": True, "false": False}.get(token.text, token.text.strip("`"))
        number = float(token.text)
        if not math.isfinite(number):
            raise self.error("a number of at most 1e308", token)
        return number

    def _take(self) -> Token:
        token = self.token
        self._next += 1
        return token

    def _is_word(self, word: str) -> bool:
        return self.token.kind == "name" and self.token.text.lower() == word

    def _takes_word(self, word: str) -> bool:
        if not self._is_word(word):
            return False
        self._take()
        return True

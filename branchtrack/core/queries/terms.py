"""What a query consists of: comparisons, filters and curves, joined by and, or, not.

``str()`` of a term is a query that is parsed to the same term.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: What ``word:value`` can ask for, and what its value is.
FILTERS = {
    "run": "the name of a run",
    "branch": "the name of a branch",
    "name": "a part of the name of a run or branch",
    "kind": "root, checkpoint, intervention, fork, merge or final",
    "status": "running (or training), paused, waiting, finished, stopped, failed, lost or empty",
    "failed": "yes or no",
    "tag": "a tag of the node, its branch or its run",
    "actor": "who made the node",
    "group": "the name of a group of branches",
    "step": "a step, or a stretch as 100..200",
    "since": "how long ago at most, as 30m, 12h or 7d; or a day, as 2026-11-29",
    "archived": "yes or no",
}
#: Those of them that can be asked of a run as a whole.
RUN_FILTERS = tuple("run branch name status failed tag step since archived".split())
#: The values that these filters take, and no others.
CHOICES = {
    "kind": tuple("root checkpoint intervention fork merge final".split()),
    "status": tuple("running paused waiting finished stopped failed lost empty".split()),
    "failed": ("yes", "no"),
    "archived": ("yes", "no"),
}
#: Other words for a value of a filter: those that pages show.
SYNONYMS = {("status", "training"): "running"}
#: Values of a metric over all points that a branch has trained.
FUNCTIONS = ("best", "worst", "last", "min", "max")
OPERATORS = ("<=", ">=", "!=", "<", ">", "=")
#: Where a name is looked up if it begins so, and nowhere else.
SCOPES = ("setting", "metric")
_PLAIN_NAME = re.compile(r"[^\W\d][\w./@-]*")
_PLAIN_VALUE = re.compile(r"[^\s()\"'`]+")
_WORDS = frozenset(("and", "or", "not"))

Literal = float | str | bool


@dataclass(frozen=True)
class Name:
    """A setting or a metric; without a ``scope`` the setting, or else the metric, of that name."""

    text: str
    scope: str = ""

    def __str__(self) -> str:
        name = _name(self.text)
        return f"{self.scope}.{name}" if self.scope else name


@dataclass(frozen=True)
class Curve:
    """A value of a metric over all points of a branch; ``function`` is one of `FUNCTIONS`."""

    function: str
    metric: str

    def __str__(self) -> str:
        return f"{self.function}({_name(self.metric)})"


@dataclass(frozen=True)
class Comparison:
    """A name or a curve's value, compared with a literal."""

    subject: Name | Curve
    operator: str
    literal: Literal

    def __str__(self) -> str:
        return f"{self.subject}{self.operator}{_literal(self.literal)}"


@dataclass(frozen=True)
class Filter:
    """A property of a node, its branch or its run: ``word:value``, ``word`` one of `FILTERS`."""

    word: str
    value: str

    def __str__(self) -> str:
        return f"{self.word}:{_quoted(self.value, _PLAIN_VALUE)}"


@dataclass(frozen=True)
class Words:
    """Text that occurs in the name, the notes or a tag of a run, in any case."""

    text: str

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True)
class Not:
    """The opposite of a term; unknown if that is unknown."""

    term: Term

    def __str__(self) -> str:
        return f"not {_inner(self.term)}"


@dataclass(frozen=True)
class And:
    """All of the terms; without any, everything."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " and ".join(_inner(term) for term in self.terms)


@dataclass(frozen=True)
class Or:
    """At least one of the terms."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " or ".join(_inner(term) for term in self.terms)


Leaf = Comparison | Filter | Words
Term = Leaf | Not | And | Or


def walk(term: Term) -> Iterator[Leaf]:
    """Yield the comparisons, filters and words of a query, in their order."""
    if isinstance(term, (Comparison, Filter, Words)):
        yield term
    elif isinstance(term, Not):
        yield from walk(term.term)
    else:
        for part in term.terms:
            yield from walk(part)


def required(term: Term) -> list[Filter]:
    """Return the filters that hold of everything that the query matches."""
    if isinstance(term, Filter):
        return [term]
    parts = term.terms if isinstance(term, And) else ()
    return [inner for part in parts for inner in required(part)]


def names(term: Term) -> list[Name]:
    """Return the settings and metrics that the query compares, in its order, each once."""
    subjects = [leaf.subject for leaf in walk(term) if isinstance(leaf, Comparison)]
    return list(dict.fromkeys(name for name in subjects if isinstance(name, Name)))


def curves(term: Term) -> set[Curve]:
    """Return the curves whose values the query compares."""
    subjects = (leaf.subject for leaf in walk(term) if isinstance(leaf, Comparison))
    return {subject for subject in subjects if isinstance(subject, Curve)}


def _inner(term: Term) -> str:
    return f"({term})" if isinstance(term, (And, Or)) else str(term)


def _name(text: str) -> str:
    is_plain = _PLAIN_NAME.fullmatch(text) and text.lower() not in _WORDS
    scoped = text.partition(".")[0] in SCOPES
    return text if is_plain and not scoped else f"`{text}`"


def _literal(value: Literal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return _quoted(value)


def _quoted(text: str, plain: re.Pattern[str] | None = None) -> str:
    if plain is not None and plain.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

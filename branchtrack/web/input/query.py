"""The numbers and choices in a page's address, parsed strictly: unknown values are errors.

It knows no page's meaning of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from branchtrack.errors import InvalidInput

_LARGEST = 2**53


def whole(name: str, least: int = 0) -> int | None:
    """Return a whole number of the address, or None if it is absent or empty.

    Raises:
        InvalidInput: it is not a whole number of at least ``least``.
    """
    text = request.args.get(name, "").strip().replace(",", "")
    return whole_number(name, text, least) if text else None


def whole_number(name: str, text: str, least: int = 0) -> int:
    """Return the whole number that a text of the address or of a form is.

    Raises:
        InvalidInput: it is not a whole number of at least ``least``.
    """
    # More digits are refused: it takes long to parse very many.
    digits = text.lstrip("0")[:20] or "0"
    if not text.isascii() or not text.isdigit() or not least <= int(digits) <= _LARGEST:
        raise InvalidInput(name, text, f"a whole number of at least {least}")
    return int(digits)


def choice(name: str, allowed: Sequence[str]) -> str:
    """Return one of a few words; the first if it is absent or empty.

    Raises:
        InvalidInput: it is another word.
    """
    text = request.args.get(name, "") or allowed[0]
    if text not in allowed:
        raise InvalidInput(name, text, ", ".join(allowed))
    return text


def weight(allowed: Sequence[float], default: float) -> float:
    """Return the requested smoothing.

    Raises:
        InvalidInput: it is not one of those offered.
    """
    texts = {f"{value:g}": value for value in allowed}
    text = request.args.get("smooth", "") or f"{default:g}"
    if text not in texts:
        raise InvalidInput("smooth", text, ", ".join(texts))
    return texts[text]


def window() -> tuple[int | None, int | None]:
    """Return the steps requested with ``from`` and ``to``.

    Raises:
        InvalidInput: they are not numbers, or the first is not below the second.
    """
    low, high = whole("from"), whole("to", 1)
    if low is not None and high is not None and low >= high:
        raise InvalidInput("to", high, f"a step greater than {low}")
    return low, high


def page_number() -> int:
    """Return the page of a list, from 1 on."""
    return whole("page", 1) or 1


def own_path(path: str) -> str:
    """Return a path as one on this server: with two slashes it would name another host."""
    cleaned = "/" + path.lstrip("/\\")
    return cleaned if cleaned.isprintable() else "/"


@dataclass(frozen=True)
class Page:
    """A page of a list: its number, the last one's, and its items."""

    number: int
    last: int
    size: int
    items: Sequence[Any]

    @property
    def first(self) -> int:
        """Return the place of its first item in the list, counted from 1."""
        return self.size * (self.number - 1) + 1


def page(listed: Sequence[Any], size: int, number: int | None = None) -> Page:
    """Return the page of a list that has a number, else the requested one; at most the last."""
    last = max(1, -(-len(listed) // size))
    chosen = min(number or page_number(), last)
    return Page(chosen, last, size, listed[size * (chosen - 1) : size * chosen])

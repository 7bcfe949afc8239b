"""The numbers and choices in a page's address, read strictly: what is not understood is an error.

It knows no page's meaning of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import request

from branchtrack.errors import InvalidInput

_LARGEST = 2**53


def whole(name: str, least: int = 0) -> int | None:
    """A whole number of the address, or None where it is absent or empty.

    Raises:
        InvalidInput: it is not a whole number of at least ``least``.
    """
    text = request.args.get(name, "").strip().replace(",", "")
    if not text:
        return None
    # More digits than that are not read: reading very many takes long.
    digits = text.lstrip("0")[:20] or "0"
    if not text.isascii() or not text.isdigit() or not least <= int(digits) <= _LARGEST:
        raise InvalidInput(name, text, f"a whole number of at least {least}")
    return int(digits)


def choice(name: str, allowed: Sequence[str]) -> str:
    """One of a few words; the first where it is absent or empty.

    Raises:
        InvalidInput: another word.
    """
    text = request.args.get(name, "") or allowed[0]
    if text not in allowed:
        raise InvalidInput(name, text, ", ".join(allowed))
    return text


def weight(allowed: Sequence[float], default: float) -> float:
    """The smoothing asked for.

    Raises:
        InvalidInput: not one of those offered.
    """
    texts = {f"{value:g}": value for value in allowed}
    text = request.args.get("smooth", "") or f"{default:g}"
    if text not in texts:
        raise InvalidInput("smooth", text, ", ".join(texts))
    return texts[text]


def window() -> tuple[int | None, int | None]:
    """The steps asked for with ``from`` and ``to``.

    Raises:
        InvalidInput: not numbers, or the first not below the second.
    """
    low, high = whole("from"), whole("to", 1)
    if low is not None and high is not None and low >= high:
        raise InvalidInput("to", high, f"a step greater than {low}")
    return low, high


def page_number() -> int:
    """The page of a list, from 1 on."""
    return whole("page", 1) or 1

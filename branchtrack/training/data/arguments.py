"""Arguments that several datasets take, checked in the same words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from branchtrack.errors import InvalidInput


def check_length(length: int | None) -> None:
    """Refuse a number of items of a pass that is none.

    Raises:
        InvalidInput: ``length``.
    """
    if length is not None and (type(length) is not int or length < 1):
        raise InvalidInput("length", length, "a whole number of at least 1, or None")


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        InvalidInput: ``seed``.
    """
    if type(seed) is not int or seed < 0:
        raise InvalidInput("seed", seed, "a whole number of at least 0")


def check_weights(weights: Mapping[str, float], names: Collection[str]) -> None:
    """Refuse weights that are not one for each of ``names``.

    Raises:
        InvalidInput: ``weights``.
    """
    if weights.keys() != set(names):
        raise InvalidInput("weights", dict(weights), f"one for each of {', '.join(names)}")

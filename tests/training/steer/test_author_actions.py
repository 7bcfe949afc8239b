"""An author's function becomes an action with typed parameters, or is refused with the reason."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from branchtrack.errors import InvalidInput
from branchtrack.training.steer import author_actions


def boost(
    factor: Annotated[float, Field(ge=1, lt=10, description="how much")] = 2.0,
    rounds: Annotated[int, Field(gt=3, lt=9)] = 4,
    *,
    how: Literal["all", "some"] = "all",
    soft: bool = True,
) -> int:
    """Boost the loss.

    More about it.
    """
    return 7


def refused(function: Any, name: str = "act") -> str:
    with pytest.raises(InvalidInput) as caught:
        author_actions.describe(name, function)
    return caught.value.allowed


def test_parameters_have_the_types_bounds_and_defaults_of_the_function() -> None:
    action = author_actions.describe("boost", boost)
    assert (action.name, action.about) == ("boost", "Boost the loss.")
    assert action.validate({}) == {"factor": 2.0, "rounds": 4, "how": "all", "soft": True}
    assert action.validate({"factor": "9.99", "how": "some"})["factor"] == 9.99
    assert action.parameters[0].about == "how much"


@pytest.mark.parametrize(
    "arguments",
    [{"factor": 10}, {"factor": 0.9}, {"rounds": 3}, {"rounds": 9}, {"how": "none"}, {"soft": 1}],
)
def test_a_value_outside_of_the_bounds_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        author_actions.describe("boost", boost).validate(arguments)


def test_an_argument_without_a_default_is_needed() -> None:
    def relabel(threshold: float) -> None: ...

    with pytest.raises(InvalidInput, match="relabel needs threshold"):
        author_actions.describe("relabel", relabel).validate({})


def test_an_object_that_can_be_called_is_an_action() -> None:
    class Relabel:
        def __call__(self, threshold: float = 0.5) -> None:
            """Not its class's."""

    assert author_actions.describe("act", Relabel()).validate({}) == {"threshold": 0.5}


def test_what_cannot_be_asked_for_by_name_and_type_is_refused() -> None:
    def untyped(a) -> None: ...

    def listed(a: list[int]) -> None: ...

    def positional(a: int, /) -> None: ...

    def many(*a: int) -> None: ...

    for function in (untyped, listed, positional, many):
        assert "annotated as bool, int, float, str" in refused(function)
    assert "identifiers" in refused(boost, "not a name")
    assert "a function" in refused(partial(boost, factor="x").keywords)


def test_a_default_or_a_bound_that_makes_no_sense_is_refused() -> None:
    def outside(a: Annotated[float, Field(ge=1)] = 0.5) -> None: ...

    def pattern(a: Annotated[str, Field(pattern="x")]) -> None: ...

    assert "at least 1" in refused(outside)
    assert "bounds ge, gt, le and lt" in refused(pattern)


def test_a_result_is_told_as_json() -> None:
    assert author_actions.call(lambda: {"kept": 3}, {}) == {"returned": {"kept": 3}}
    assert author_actions.call(lambda: float("nan"), {}) == {"returned": "nan"}
    assert len(author_actions.call(lambda: {"x" * 3000}, {})["returned"]) == 2000


def test_fractional_bounds_of_whole_numbers_allow_all_between_them() -> None:
    def grow(
        layers: Annotated[int, Field(gt=2.5, lt=4.5)] = 3,
        heads: Annotated[int, Field(ge=1.5, le=4.5)] = 2,
    ) -> None:
        """Grow."""

    layers, heads = author_actions.describe("grow", grow).parameters
    assert (layers.minimum, layers.maximum) == (3, 4)
    assert (heads.minimum, heads.maximum) == (2, 4)

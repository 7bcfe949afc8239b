"""Requests to a run: what they are asked with, previews, and how they are answered."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar

from pydantic import Field, RootModel, create_model

from branchtrack.core import lifecycle
from branchtrack.core.interventions import INTERVENTIONS, Intervention
from branchtrack.schemas.bases import Answer, Moment, Query, Reason, Selection, Values
from branchtrack.schemas.errors import Problem

_A_YEAR = 366 * 86400


class RequestsQuery(Selection):
    """Which requests of a run, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    before: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, description="`next` of the page before."
    )


class WaitQuery(Query):
    """Whether the answer is to come once the request has ended."""

    wait: float = Field(
        0.0, ge=0, le=30, allow_inf_nan=False, description="Seconds to wait for the end."
    )


class Conditions(Intervention):
    """Why, until when and under what conditions: with every kind of request."""

    reason: Reason = Field("", description="Why; agents must give one.")
    only_if: Values | None = Field(None, description="Values that settings must still have.")
    not_after_step: int | None = Field(None, ge=0, le=2**62)
    expires_in: float | None = Field(None, gt=0, le=_A_YEAR, description="Seconds.")
    at_step: int | None = Field(
        None, ge=0, le=2**62, description="The one step at which it is carried out."
    )
    once: Annotated[str, Field(min_length=1, max_length=2000)] | None = Field(
        None, description="A condition on metrics, as `eval_loss<2.5`, from which on it is."
    )
    propose: bool = Field(False, description="Wait for a person's yes.")
    key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The same key from the same caller is the same request.",
    )


def _asked(model: type[Intervention]) -> Any:
    """Return the model of an intervention's body: its own, and the conditions."""
    name = f"{model.__name__}Request"
    return create_model(name, __base__=(model, Conditions), __doc__=model.__doc__)


_Any: Any = reduce(or_, (_asked(model) for model in INTERVENTIONS.values()))


class RequestBody(RootModel[Any]):
    """An intervention, of one of the kinds, with its reason and conditions.

    What it means for a run is checked where it is stored, so that refusals are recorded.
    """

    root: Annotated[_Any, Field(discriminator="kind")]


class Request(Answer):
    """A request as it is now; ``requested`` are values by name where it changes settings."""

    seq: int
    id: str
    kind: str
    state: str
    payload: Values
    requested: Values
    applied: Values | None
    before: Values | None
    effective: Values | None
    result: Values | None
    step: int | None
    node: str | None
    actor: str
    reason: str
    error: str | None
    key: str | None
    conditions: Values
    channel: str
    asked_step: int | None
    created_at: Moment
    updated_at: Moment

    @property
    def has_ended(self) -> bool:
        """Return whether nothing more will become of it."""
        return self.state in lifecycle.REQUEST_ENDS


class RequestPage(Answer):
    """A run's requests, newest first."""

    items: ClassVar[str] = "requests"

    requests: list[Request]
    total: int
    next: int | None


class PreviewedChange(Answer):
    """What a request would do to a setting."""

    name: str
    before: Any
    after: Any
    effect: str
    same: bool


class Preview(Answer):
    """What a request would change; ``unmet`` is the condition that would stop it now."""

    valid: bool
    error: Problem | None
    step: int | None
    describe: str
    changes: list[PreviewedChange]
    unmet: str

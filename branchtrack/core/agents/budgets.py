"""What an agent may use, what it has used, and whether that is all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from branchtrack.core.plain_values import LARGEST
from branchtrack.errors import InvalidInput

#: Interventions are counted in so many updates of the run.
WINDOW = 1000
#: The highest limit of dollars.
MOST_DOLLARS = 10**12


class Budget(BaseModel):
    """The limits of an agent; None is no limit.

    ``per_1000_steps``: interventions in any 1,000 updates of the run; ``interventions`` in all.
    ``branches``: forks and rollbacks. ``steps``: updates of the branches that it forks, as ordered.
    ``tokens`` and ``dollars``: of a language model. ``exchanges``: questions to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_1000_steps: int | None = Field(20, ge=0, le=LARGEST)
    interventions: int | None = Field(None, ge=0, le=LARGEST)
    branches: int | None = Field(8, ge=0, le=LARGEST)
    steps: int | None = Field(None, ge=0, le=LARGEST)
    exchanges: int | None = Field(None, ge=0, le=LARGEST)
    tokens: int | None = Field(None, ge=0, le=LARGEST)
    dollars: float | None = Field(None, ge=0, le=MOST_DOLLARS, allow_inf_nan=False)


@dataclass(frozen=True)
class Spent:
    """What an agent has used so far; ``at`` are the run's updates at its latest interventions."""

    interventions: int = 0
    branches: int = 0
    steps: int = 0
    exchanges: int = 0
    tokens: int = 0
    dollars: float = 0.0
    at: tuple[int, ...] = ()

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Spent:
        """Return it as it was stored."""
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        return cls(**{**known, "at": tuple(stored.get("at") or ())})

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "at": list(self.at)}

    def asked(self, tokens: int, dollars: float) -> Spent:
        """Return it with one more question to a language model."""
        more = {
            "exchanges": self.exchanges + 1,
            "tokens": self.tokens + tokens,
            "dollars": self.dollars + dollars,
        }
        return Spent(**{**asdict(self), **more})

    def intervened(self, run_steps: int, *, branches: int = 0, steps: int = 0) -> Spent:
        """Return it with one more intervention, at so many updates of the run."""
        recent = tuple(at for at in self.at if at > run_steps - WINDOW)
        more = {
            "interventions": self.interventions + 1,
            "branches": self.branches + branches,
            "steps": self.steps + steps,
            "at": (*recent, run_steps),
        }
        return Spent(**{**asdict(self), **more})


def parse(values: Mapping[str, Any]) -> Budget:
    """Return a budget from values by name; text is read as a number.

    Raises:
        InvalidInput: an unknown name, or a limit out of its range; the error names the range.
    """
    try:
        return Budget.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        allowed = f"a whole number from 0 to {LARGEST}"
        if name == "dollars":
            allowed = f"a number from 0 to {MOST_DOLLARS}"
        elif name not in Budget.model_fields:
            allowed = ", ".join(Budget.model_fields)
        raise InvalidInput(f"budget.{name}", first.get("input"), allowed) from error


def check_priced(budget: Budget, options: Mapping[str, Any]) -> None:
    """Refuse a limit of dollars for a language model whose ``options`` have no price.

    Raises:
        InvalidInput: naming the limit.
    """
    if budget.dollars is not None and not (options.get("price_in") or options.get("price_out")):
        allowed = (
            "a limit together with the option price_in or price_out (dollars a million tokens)"
        )
        raise InvalidInput("budget.dollars", budget.dollars, allowed)


def exhausted(budget: Budget, spent: Spent) -> str:
    """Return why an agent may ask and intervene no more, ever; empty if it may.

    One that may have no branches at all can still do everything else.
    """
    for name in ("interventions", "branches", "steps", "exchanges", "tokens", "dollars"):
        limit, used = getattr(budget, name), getattr(spent, name)
        if limit == 0 and name in ("branches", "steps"):
            continue
        if limit is not None and used >= limit:
            return f"Its budget of {limit:g} {name} is used up."
    return ""


def over_rate(budget: Budget, spent: Spent, run_steps: int) -> str:
    """Return why an agent may not intervene at present; empty if it may."""
    recent = sum(at > run_steps - WINDOW for at in spent.at)
    if budget.per_1000_steps is not None and recent >= budget.per_1000_steps:
        return f"It has made {recent} interventions in the last {WINDOW:,} updates of the run."
    return ""


def beyond(budget: Budget, spent: Spent, *, branches: int, steps: int) -> str:
    """Return why a fork would use more than is left; empty if it would not."""
    for name, more in (("branches", branches), ("steps", steps)):
        limit, used = getattr(budget, name), getattr(spent, name)
        if limit is not None and used + more > limit:
            return f"It would use {used + more:,} of {limit:,} {name}."
    return ""

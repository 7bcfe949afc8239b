"""What all policies share: their options, and the one method that decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from branchtrack.core.agents.decisions import Decision
from branchtrack.core.agents.views import View
from branchtrack.errors import InvalidInput


class Options(BaseModel):
    """The options of a policy; text from a command line is read as the option's type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Chosen = TypeVar("Chosen", bound=Options)
Memory = MutableMapping[str, Any]


class Policy(ABC, Generic[Chosen]):
    """A rule. ``name`` is the word by which it is chosen, ``about`` says what it does.

    ``options`` is the model of its options. ``every_branch``: it decides about all branches of a
    run, not about one.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    model: ClassVar[type[Options]]
    every_branch: ClassVar[bool] = False

    def __init__(self, options: Chosen) -> None:
        self.options = options

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Policy[Any]:
        """Return the policy with options from values by name.

        Raises:
            InvalidInput: an unknown option, or a value that it cannot have.
        """
        try:
            # The model is that of the policy's own options, which the types cannot say.
            return cls(cast(Any, cls.model.model_validate(dict(values))))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "options"
            known = ", ".join(cls.model.model_fields)
            allowed = known if name not in cls.model.model_fields else str(first["msg"])
            raise InvalidInput(f"option.{name}", first.get("input"), allowed) from error

    @abstractmethod
    def decide(self, view: View, memory: Memory) -> list[Decision]:
        """Return what is to be done now, if anything; ``memory`` is kept until the next call.

        ``memory`` holds what JSON can.
        """

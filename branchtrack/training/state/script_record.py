"""What the script of a training requests, compared with what the script of its node requested.

A record is flat: plain values by name. A Trainer and a loop of one's own record other things and
declare changes in other ways; the comparison is one. It knows no session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack.training.state import model_repr
from branchtrack.training.state.mismatch import ACCEPTED, Difference, equal, refuse

#: Before the names of settings that the author declares.
AUTHOR_PREFIX = "settings."


def author_settings(values: Any) -> dict[str, Any]:
    """Return the author's settings as a record has them; reading them counts as no use."""
    return {f"{AUTHOR_PREFIX}{name}": values.peek(name) for name in values}


@dataclass(frozen=True)
class ScriptComparison(ABC):
    """The records of two scripts; ``settings`` are the node's own, ``declared`` what may change."""

    current: Mapping[str, Any]
    recorded: Mapping[str, Any]
    settings: Mapping[str, Any]
    declared: Mapping[str, Any]

    @abstractmethod
    def setting_of(self, name: str) -> str:
        """Return the setting with which a change of ``name`` is declared, or an empty string."""

    @abstractmethod
    def is_declared(self, name: str) -> bool:
        """Return whether a difference was declared, or may be there."""

    @abstractmethod
    def is_in_node(self, name: str) -> bool:
        """Return whether the node has what the script requests now."""

    @abstractmethod
    def is_intended(self, name: str) -> bool:
        """Return whether a difference may be accepted: nothing of the node replaces it."""

    @abstractmethod
    def option(self, name: str) -> str:
        """Return the option that declares a change of a setting, or an empty string."""

    def in_force(self, name: str) -> str:
        """Return what the node has for a name, in brackets, or an empty string."""
        setting = self.setting_of(name)
        if setting not in self.settings:
            return ""
        return f" (in force in it: {setting} = {self.settings[setting]!r})"

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Return names in the order in which their differences are listed."""
        return sorted(names)

    def differences(self, accepted: Collection[str] = ()) -> list[Difference]:
        """Return what differs and was neither declared nor accepted."""
        names = (self.current.keys() | self.recorded.keys()) - {model_repr.MODULES}
        return [
            self._difference(name)
            for name in self.ordered(names)
            if not equal(self.current.get(name), self.recorded.get(name))
            and not self.is_declared(name)
            and not self.is_in_node(name)
            and not (name in accepted and self.is_intended(name))
        ]

    def _difference(self, name: str) -> Difference:
        option = ACCEPTED if self.is_intended(name) else self.option(name)
        actual, expected = self.current.get(name), self.recorded.get(name)
        return Difference(name, actual, expected, self.in_force(name), option)


def require_same_script(comparison: ScriptComparison, accepted: Collection[str] = ()) -> None:
    """Refuse a script that requests something else than the one that created the node.

    ``accepted`` are names of differences that are intended.

    Raises:
        CheckpointMismatch: with both values and the two ways out.
    """
    refuse(comparison.differences(accepted), accepted)
    # A configuration says more than the modules that are built from it.
    model_repr.check(comparison.current, comparison.recorded)

"""What else than settings can be requested of a training process, declared when it begins.

Its author's own actions with their typed parameters, the modules that can be frozen or reset, and
whether it evaluates and can be restarted. It knows no function and no module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput, shown


@dataclass(frozen=True)
class Action:
    """An action of the author's own. ``parameters`` are declared as settings are; those in
    ``defaults`` may be omitted.
    """

    name: str
    about: str = ""
    parameters: Sequence[Setting] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by name, each as its parameter's type, with defaults filled in.

        Raises:
            InvalidInput: an unknown or missing argument, or a value that is not allowed.
        """
        parameters = {parameter.name: parameter for parameter in self.parameters}
        for name in arguments:
            if name not in parameters:
                allowed = ", ".join(sorted(parameters)) or "none: it has no parameters"
                raise InvalidInput(f"arguments.{name}", arguments[name], allowed)
        values = dict(self.defaults)
        for name, parameter in parameters.items():
            if name in arguments:
                values[name] = parameter.validate(arguments[name])
            elif name not in values:
                raise InvalidInput(
                    f"arguments.{name}", None, parameter.allowed, what=f"{self.name} needs {name}."
                )
        return values


@dataclass(frozen=True)
class Capabilities:
    """``modules`` are paths of modules and parameters; None if there are too many to list."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    modules: Sequence[str] | None = None
    evaluates: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, which ``read`` reads back."""
        return {
            "actions": [asdict(action) for action in self.actions.values()],
            "modules": None if self.modules is None else list(self.modules),
            "evaluates": self.evaluates,
        }

    def action(self, name: str) -> Action:
        """Return the action of that name.

        Raises:
            InvalidInput: the run has no such action.
        """
        if name not in self.actions:
            allowed = ", ".join(sorted(self.actions)) or "none: the run registered no actions"
            raise InvalidInput("action", name, allowed, what=f"There is no action {shown(name)}.")
        return self.actions[name]

    def check_modules(self, text: str) -> None:
        """Refuse a list of names and patterns if one of them matches nothing.

        Raises:
            InvalidInput: with the names there are.
        """
        patterns = [name.strip() for name in text.split(",") if name.strip()]
        if not patterns:
            raise InvalidInput("modules", text, "names or patterns of modules, separated by commas")
        for pattern in patterns if self.modules is not None else ():
            if not any(fnmatchcase(path, pattern) for path in self.modules or ()):
                tops = [path for path in self.modules or () if "." not in path]
                raise InvalidInput(
                    "modules",
                    pattern,
                    f"paths or patterns of modules, such as {', '.join(tops)}",
                    what=f"No module and no parameter is named {shown(pattern)}.",
                )


def read(stored: Mapping[str, Any]) -> Capabilities:
    """Return what ``as_dict`` wrote; a process of an older version has no extra capabilities."""
    actions = {}
    for row in stored.get("actions", ()):
        parameters = [Setting(**parameter) for parameter in row["parameters"]]
        actions[row["name"]] = Action(row["name"], row["about"], parameters, row["defaults"])
    return Capabilities(actions, stored.get("modules"), stored.get("evaluates", True))

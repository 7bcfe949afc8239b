"""Settings that the author of a training loop declares, and whether the loop reads them.

It knows no torch, no optimizer and no session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from branchtrack.core.builtin_settings import AT_RESUME, RECIPE
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: Prefixes of the settings of a model's parts and of the data.
RESERVED = ("model.", "data.")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
#: What the record of an update holds beside the settings, under reserved names.
_OF_RECORD = ("step", "verified", "obeyed", "update", "grad_norm", "groups", RECIPE)
#: What it holds for each optimizer, and the settings of parameter groups, alone or with a prefix.
_OF_OPTIMIZERS = re.compile(r"(.*\.)?((lr|momentum|betas)_now|group[0-9]+(\..*)?)")
#: Kinds that can have bounds.
_NUMBERS = ("int", "float", "floats")
#: The order in which a value's kind is tested: True is an int as well.
_KINDS = ((bool, "bool"), (int, "int"), (float, "float"), (str, "str"))


@dataclass(frozen=True)
class Declared:
    """A setting's first value with its declaration, not yet named; see `setting`."""

    value: Any
    setting: Setting


class Values(Mapping[str, Any]):
    """Values by name, as a loop reads them; every read is noted.

    ``declared`` holds the declarations by name.
    """

    def __init__(self, declarations: Mapping[str, Any]) -> None:
        self.declared: dict[str, Setting] = {}
        self._values: dict[str, Any] = {}
        self._read: dict[str, Any] = {}
        for name, value in declarations.items():
            self.add(name, value)

    def add(self, name: str, value: Any) -> None:
        """Declare another setting; see `setting`.

        Raises:
            InvalidInput: the name cannot be used, or is declared already.
        """
        declaration = value if isinstance(value, Declared) else _declared(name, value)
        if not _is_free(name) or name in self.declared:
            taken = ", ".join(sorted([*AT_RESUME, *_OF_RECORD]))
            raise InvalidInput(
                "settings",
                name,
                "names of letters, digits, dots, dashes and underscores "
                "that begin with a letter, each once; none that begins with "
                f"{' or '.join(RESERVED)}; none like group0, group0.lr, lr_now, momentum_now or "
                f"betas_now; none of {taken}",
            )
        self.declared[name] = replace(declaration.setting, name=name)
        self._values[name] = self.declared[name].validate(declaration.value)

    def __getitem__(self, name: str) -> Any:
        value = _own(self._values[name])
        self._read[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        # Mapping's own would look the value up, which counts as a read.
        return name in self._values

    def peek(self, name: str) -> Any:
        """Return a value without noting the read."""
        return _own(self._values[name])

    def write(self, name: str, value: Any) -> None:
        """Give a setting another value.

        Raises:
            InvalidInput: its declaration refuses it.
        """
        self._values[name] = self.declared[name].validate(value)

    @property
    def read(self) -> dict[str, Any]:
        """Return what the loop has read since the last `take_read`, with the values it got."""
        return dict(self._read)

    def take_read(self) -> dict[str, Any]:
        """Return what the loop has read since the last call, each with the value it last got."""
        read_values, self._read = self._read, {}
        return read_values


def setting(
    value: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    unit: str = "",
    about: str = "",
) -> Declared:
    """Declare a setting of a custom training loop: its first value and what is allowed.

    The value's type is the setting's: bool, int, float, str (one of ``choices``, if given) or a
    list of numbers, which keeps its length and each within the bounds.

    Raises:
        InvalidInput: a value of another type or outside its own bounds, or invalid bounds.
    """
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    kind = next((word for type_, word in _KINDS if isinstance(value, type_)), None)
    kind = "floats" if is_list else kind
    if kind is None or (choices and kind != "str"):
        raise InvalidInput(
            "settings", value, "a bool, int, float, str or list of numbers; choices for str alone"
        )
    for word, bound in (("minimum", minimum), ("maximum", maximum)):
        if bound is not None and not (kind in _NUMBERS and _is_bound(bound)):
            allowed = "a number, for a setting that is a number or a list of numbers; else None"
            raise InvalidInput(word, bound, allowed)
    declaration = Setting(
        "setting",
        "choice" if choices else kind,
        minimum=minimum,
        maximum=maximum,
        infinite=kind in ("float", "floats") and maximum is None,
        choices=tuple(choices),
        unit=unit,
        about=about,
        count=len(value) if is_list else 1,
        effect="when the loop reads it next",
    )
    return Declared(declaration.validate(value), declaration)


def _declared(name: str, value: Any) -> Declared:
    try:
        return setting(value)
    except InvalidInput as error:
        raise InvalidInput(name, value, error.allowed) from error


def _is_bound(bound: Any) -> bool:
    """Return whether values can be compared with a bound."""
    return isinstance(bound, (int, float)) and not isinstance(bound, bool) and bound == bound


def _is_free(name: object) -> bool:
    """Return whether a name fits the rule and is not used for anything else in the record."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith(RESERVED):
        return False
    return name not in (*AT_RESUME, *_OF_RECORD) and not _OF_OPTIMIZERS.fullmatch(name)


def _own(value: Any) -> Any:
    """Return a value that its receiver cannot change for others."""
    return list(value) if isinstance(value, list) else value

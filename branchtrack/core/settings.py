"""Settings: the values of a live run that may be changed, how they are declared and validated.

One definition serves the command line, web forms, the API and resumes. It knows no optimizer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from branchtrack.errors import InvalidInput, shown

#: As in JSON and Python, but no underscores and no digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Setting:
    """A declaration. ``minimum`` is excluded where ``above`` is true; ``None`` means unbounded.

    ``dtype`` is ``float``, ``int``, ``bool`` or ``str``; ``effect`` says when a change holds.
    """

    name: str
    dtype: str = "float"
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    unit: str = ""
    effect: str = "from the next update"
    about: str = ""

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.dtype == "bool":
            return "true or false"
        if self.dtype == "str":
            return "text"
        kind = "a finite number" if self.dtype == "float" else "a whole number"
        low, high = self.minimum, self.maximum
        parts = []
        if low is not None:
            parts.append(f"{'greater than' if self.above else 'at least'} {low:g}")
        if high is not None:
            parts.append(f"at most {high:g}")
        return " ".join([kind, " and ".join(parts)]).strip()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, which ``declared`` reads back."""
        return asdict(self)

    def validate(self, value: Any) -> Any:
        """``value`` as this setting's type; text is parsed.

        Raises:
            InvalidInput: wrong type, NaN, infinity or out of bounds.
        """
        parsed = _parse(self.dtype, value)
        if parsed is None or not self._within(parsed):
            raise InvalidInput(self.name, value, self.allowed)
        return parsed

    def _within(self, value: Any) -> bool:
        if self.dtype not in ("float", "int"):
            return True
        if self.minimum is not None:
            if value < self.minimum or (self.above and value == self.minimum):
                return False
        return self.maximum is None or value <= self.maximum


LR = Setting(
    "lr", minimum=0.0, maximum=100.0, above=True,
    about="base (peak) learning rate; the schedule goes on from where it is",
)  # fmt: skip
WEIGHT_DECAY = Setting(
    "weight_decay", minimum=0.0, maximum=100.0, about="decoupled weight decay of decayed groups"
)
MAX_GRAD_NORM = Setting(
    "max_grad_norm", minimum=0.0, maximum=1e6, about="gradient norm above which to clip; 0 is off"
)
BUILT_IN = (LR, WEIGHT_DECAY, MAX_GRAD_NORM)


def declared(rows: Iterable[Mapping[str, Any]]) -> dict[str, Setting]:
    """Declarations by name, from their JSON form."""
    return {row["name"]: Setting(**row) for row in rows}


def validate_all(values: Mapping[str, Any], known: Mapping[str, Setting]) -> dict[str, Any]:
    """Every value validated, all or nothing.

    Raises:
        InvalidInput: no value, an unknown name, or a value that its setting refuses.
    """
    if not values:
        raise InvalidInput("settings", {}, f"one or more of {', '.join(sorted(known))}")
    for name in values:
        if name not in known:
            names = ", ".join(sorted(known))
            raise InvalidInput(
                name, values[name], names, what=f"There is no setting {shown(name)}."
            )
    return {name: known[name].validate(value) for name, value in values.items()}


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` texts as a mapping.

    Raises:
        InvalidInput: a text without ``=``, or a name given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInput("settings", text, "name=value, for example lr=1e-4")
        if name.strip() in values:
            raise InvalidInput(name.strip(), text, "one value for each name")
        values[name.strip()] = value.strip()
    return values


def _parse(dtype: str, value: Any) -> Any:
    if dtype == "bool":
        words = {"true": True, "false": False}
        return words.get(value.lower()) if isinstance(value, str) else _only(bool, value)
    if dtype == "str":
        return _only(str, value)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    try:
        number = float(value)
        if not math.isfinite(number):
            return None
        if dtype == "float":
            return number
        return int(value) if float(int(number)) == number else None
    except (ValueError, OverflowError):
        return None


def _only(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else None

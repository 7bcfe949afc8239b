"""Settings: the values of a live run that may be changed, how they are declared and validated.

One definition serves the command line, web forms, the API and resumes. It knows no optimizer, and
not which settings there are: `builtin_settings` declares those that are built in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.names import storable
from branchtrack.core.plain_values import LARGEST
from branchtrack.errors import InvalidInput

#: As in JSON and Python, but no underscores and no digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: As Python, JSON's readers and our own pages write it.
_INFINITY = re.compile(r"\+?(inf|infinity|∞)|([-−])(inf|infinity|∞)", re.IGNORECASE)

#: Characters of a text. It is kept with every node, and shown on pages.
_LONGEST = 4000


@dataclass(frozen=True)
class Setting:
    """A declaration. ``minimum`` is excluded where ``above`` is true; ``None`` means unbounded.

    ``dtype`` is ``float``, ``int``, ``bool``, ``str``, ``choice`` (one of ``choices``), ``floats``
    (``count`` of them, written ``0.9, 0.95``) or ``arguments`` (see `schedules`).
    ``effect`` says when a change holds; one that is not ``live`` can be changed only on resume.
    A ``detail`` is one of many parts of another setting: nodes do not list it, their state has it.
    An ``infinite`` one also takes infinity, and without a minimum minus infinity.

    Pages list it in its ``group`` (without one it is the script's own), name it ``short`` where
    space is scarce, and have an ``is_frequent`` one in the short form of a branch.

    The others are facts of built-in settings that runs do not record. ``why_absent`` says why a run
    may lack it. One ``at_resume`` can be changed by a resume although no process declares it. An
    ``is_directive`` one says how a change is meant, and is no value in force afterwards.
    ``arguments`` are other names of it in scripts, ``replaces`` is the part of a restored state
    that it replaces. Optimizers read one ``in_groups`` in each of their groups; one that
    ``shapes_rates`` shows in the rates of all groups.
    """

    name: str
    dtype: str = "float"
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    unit: str = ""
    effect: str = "from the next update"
    about: str = ""
    choices: Sequence[str] = ()
    count: int = 1
    live: bool = True
    detail: bool = False
    infinite: bool = False
    group: str = ""
    short: str = ""
    is_frequent: bool = False
    why_absent: str = field(default="", compare=False)
    at_resume: bool = field(default=False, compare=False)
    is_directive: bool = field(default=False, compare=False)
    arguments: Sequence[str] = field(default=(), compare=False)
    replaces: str = field(default="", compare=False)
    in_groups: bool = field(default=False, compare=False)
    shapes_rates: bool = field(default=False, compare=False)

    @property
    def short_name(self) -> str:
        """The name where space is scarce, with the name of its optimizer where it has one."""
        prefix, dot, _local_name = self.name.rpartition(".")
        return prefix + dot + self.short if self.short else self.name

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.dtype == "bool":
            return "true or false"
        if self.dtype == "str":
            return f"text of at most {_LONGEST:,} characters"
        if self.dtype == "arguments":
            return "name=value pairs separated by commas, or a JSON object; {} for none"
        if self.dtype == "choice":
            return f"one of {', '.join(self.choices)}"
        kind = "a whole number" if self.dtype == "int" else "a finite number"
        low, high = self.minimum, self.maximum
        # Whole numbers are read without an exponent, so they are written without one.
        form = ".16g" if self.dtype == "int" else ".10g"
        parts = []
        if low is not None:
            parts.append(f"{'greater than' if self.above else 'at least'} {low:{form}}")
        if high is not None:
            parts.append(f"at most {high:{form}}")
        phrase = " ".join([kind, " and ".join(parts)]).strip()
        phrase += ", or inf" if self.infinite else ""
        many = "1 number," if self.count == 1 else f"{self.count} numbers separated by commas, each"
        return f"{many} {phrase}" if self._is_list else phrase

    @property
    def _is_list(self) -> bool:
        return self.dtype == "floats"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, which `builtin_settings.declared` reads back."""
        return {row.name: getattr(self, row.name) for row in fields(self) if row.compare}

    def validate(self, value: Any) -> Any:
        """Return ``value`` as this setting's type; text is parsed.

        Raises:
            InvalidInput: wrong type, NaN, infinity unless it is ``infinite``, out of bounds, or
                text that is too long or holds what no database can (NUL, half a surrogate pair).
        """
        parsed = self._listed(value) if self._is_list else _parse(self.dtype, value)
        each = parsed if self._is_list and parsed is not None else [parsed]
        if any(element is None or not self._within(element) for element in each):
            raise InvalidInput(self.name, value, self.allowed)
        return parsed

    def nearest(self, value: Any) -> Any:
        """Return the nearest bound for a number out of bounds; anything else as it is.

        A bound that is itself excluded is not allowed, so no value is moved to it.
        """
        numbers = self._listed(value) if self._is_list else [_parse(self.dtype, value)]
        if self.dtype not in ("float", "int", "floats") or not numbers or None in numbers:
            return value
        if any(math.isinf(number) for number in numbers):
            return value
        clamped = [self._clamped(number) for number in numbers]
        return clamped if self._is_list else clamped[0]

    def _clamped(self, value: Any) -> Any:
        low = None if self.above else self.minimum
        kind = int if self.dtype == "int" else float
        if low is not None and value < low:
            return kind(low)
        if self.maximum is not None and value > self.maximum:
            return kind(self.maximum)
        return value

    def _listed(self, value: Any) -> list[Any] | None:
        parts = value.strip("()[] ").split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or len(parts) != self.count:
            return None
        return [_parse("float", element) for element in parts]

    def _within(self, value: Any) -> bool:
        if self.dtype == "choice":
            return value in self.choices
        if self.dtype == "str":
            return len(value) <= _LONGEST and storable(value) == value
        if self.dtype not in ("float", "int", "floats"):
            return True
        if math.isinf(value):
            return self.infinite and (value > 0 or self.minimum is None)
        if self.minimum is not None:
            if value < self.minimum or (self.above and value == self.minimum):
                return False
        return self.maximum is None or value <= self.maximum


def parse_assignments(texts: Iterable[str], field: str = "settings") -> dict[str, str]:
    """Return ``name=value`` texts, given as ``field``, as a mapping.

    Raises:
        InvalidInput: a text without ``=``, or a name given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(field, text, "name=value, for example lr=1e-4")
        if name.strip() in values:
            raise InvalidInput(name.strip(), text, "one value for each name")
        values[name.strip()] = value.strip()
    return values


def _parse(dtype: str, value: Any) -> Any:
    if dtype == "bool":
        words = {"true": True, "false": False}
        return words.get(value.lower()) if isinstance(value, str) else _only(bool, value)
    if dtype in ("str", "choice"):
        return _only(str, value)
    if dtype == "arguments":
        arguments = schedules.read(value)
        return None if arguments is None else schedules.write(arguments)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        infinity = _INFINITY.fullmatch(value.strip())
        if infinity:
            value = -math.inf if infinity[2] else math.inf
        elif not _NUMBER.fullmatch(value.strip()) or math.isinf(float(value)):
            return None
    try:
        number = float(value)
        if math.isnan(number):
            return None
        if dtype == "float":
            return number
        whole = int(value)
        return whole if float(int(number)) == number and abs(whole) <= LARGEST else None
    except (ValueError, OverflowError):
        return None


def _only(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else None

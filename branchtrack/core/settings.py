"""Settings: the values of a live run that may be changed, how they are declared and validated.

One definition serves the command line, web forms, the API and resumes. It knows no optimizer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.names import storable
from branchtrack.core.plain_values import LARGEST
from branchtrack.errors import InvalidInput, shown

#: As in JSON and Python, but no underscores and no digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: As Python, JSON's readers and our own pages write it.
_INFINITY = re.compile(r"\+?(inf|infinity|∞)|([-−])(inf|infinity|∞)", re.IGNORECASE)

#: The most updates that counters, databases and JSON can all hold.
_MOST_STEPS = 10**15
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
        """Return the JSON form, which ``declared`` reads back."""
        return asdict(self)

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
        above = self.maximum is not None and value > self.maximum
        return kind(self.maximum) if above else value  # type: ignore[arg-type]

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


LR = Setting(
    "lr",
    minimum=0.0,
    maximum=100.0,
    above=True,
    about="base (peak) learning rate; the schedule continues from where it is",
)
WEIGHT_DECAY = Setting(
    "weight_decay", minimum=0.0, maximum=100.0, about="decoupled weight decay of decayed groups"
)
MAX_GRAD_NORM = Setting(
    "max_grad_norm",
    minimum=0.0,
    maximum=1e6,
    infinite=True,
    about="gradient norm above which to clip; 0 is off",
)
BUILT_IN = (LR, WEIGHT_DECAY, MAX_GRAD_NORM)

#: Of optimizers and models; a run declares those that its own have.
BETAS = Setting(
    "betas",
    "floats",
    minimum=0.0,
    maximum=0.99999999,
    count=2,
    about="decay rates of the two moments",
)
EPS = Setting("eps", minimum=0.0, maximum=1.0, above=True, about="added to the denominator")
MOMENTUM = Setting("momentum", minimum=0.0, maximum=1.0, about="momentum of SGD and similar")
#: The same if the schedule cycles momentum: the setting is the cycle's upper bound.
CYCLED_BETAS = replace(
    BETAS,
    about="decay rates of the two moments; the schedule cycles the first, and its setting is the "
    "maximum of the cycle, whose minimum keeps its ratio to it",
)
CYCLED_MOMENTUM = replace(
    MOMENTUM,
    about="the schedule cycles it, and the setting is the maximum of the cycle, whose minimum "
    "keeps its ratio to it",
)
DROPOUT = Setting(
    "dropout", minimum=0.0, maximum=1.0, about="probability of every dropout module of the model"
)
FROZEN = Setting(
    "frozen", "str", about="modules that do not train: names or patterns, separated by commas"
)

SCHEDULE_HELD = Setting(
    "schedule_held",
    "bool",
    about="whether the rate stays unchanged while the script's own schedule keeps counting; on "
    "release, a schedule computed from the step is where it would have been, any other continues "
    "from here",
)

#: Of the loop itself. Declared as they are at a resume; a loop that can change one while it runs
#: declares it by `at_once`.
_LATER: dict[str, Any] = {"effect": "from the resume on", "live": False}
LR_SCHEDULER_TYPE = Setting(
    schedules.KIND,
    "choice",
    choices=tuple(schedules.ARGUMENTS),
    **_LATER,
    about="shape of the schedule, which continues at the resumed step",
)
LR_SCHEDULER_KWARGS = Setting(
    schedules.KWARGS,
    "arguments",
    **_LATER,
    about="arguments of the schedule beside warm-up and length, such as num_cycles=3 or "
    "min_lr_rate=0.1; another schedule begins without the arguments of the previous one",
)
WARMUP_STEPS = Setting(
    "warmup_steps",
    "int",
    minimum=0,
    unit="updates",
    **_LATER,
    about="counted from step 0 of the run",
)
MAX_STEPS = Setting(
    "max_steps",
    "int",
    minimum=1,
    maximum=_MOST_STEPS,
    unit="updates",
    **_LATER,
    about="the step at which training ends",
)
HORIZON = Setting(
    "horizon",
    "choice",
    choices=("extend", "rescale"),
    **_LATER,
    about="with another max_steps: extend continues from the current rate and spreads the rest of "
    "the schedule over the remaining steps; rescale is the schedule as if it had been made for "
    "the new max_steps from step 0",
)
SCHEDULE_FROM = Setting(
    "schedule_from",
    "choice",
    choices=("start", "restart", "hold"),
    **_LATER,
    about="where the shape of the schedule begins: start is as if it had been used from step 0; "
    "restart begins again here, with its warm-up, over the remaining steps; hold begins here "
    "after its warm-up, from the current rate (with lr_scheduler_type=constant: constant from "
    "here)",
)
BATCH_SIZE = Setting(
    "batch_size",
    "int",
    minimum=1,
    unit="samples",
    **_LATER,
    about="samples of one forward pass; the rest of the epoch is divided anew",
)
ACCUMULATION = Setting(
    "gradient_accumulation_steps",
    "int",
    minimum=1,
    unit="batches",
    **_LATER,
    about="batches of one update",
)
LOGGING_STEPS = Setting("logging_steps", "int", minimum=1, unit="updates", **_LATER)
EVAL_STEPS = Setting("eval_steps", "int", minimum=1, unit="updates", **_LATER)
SAVE_STEPS = Setting("save_steps", "int", minimum=1, maximum=_MOST_STEPS, unit="updates", **_LATER)
LABEL_SMOOTHING = Setting(
    "label_smoothing_factor",
    minimum=0.0,
    maximum=1.0,
    about="share of each label that is spread over all classes; 0 is off",
)
SEED = Setting(
    "seed",
    "int",
    minimum=0,
    maximum=2**32 - 1,
    **_LATER,
    about="everything drawn from here on; the order of the current epoch stays",
)

#: For custom loops: the script itself makes the schedule.
SCHEDULER = Setting(
    "scheduler",
    "choice",
    choices=("node", "script"),
    **_LATER,
    about="whose schedule continues: the node's as it was, or the script's own, which is stepped "
    "to the node's step (other shape, length or warm-up)",
)

#: For a script that was edited since the node was created.
ACCEPT = Setting(
    "accept",
    "str",
    **_LATER,
    about="differences of the script that are intended, by the names used in the refusal, "
    "separated by commas (dataset_length)",
)
RESIZE = Setting(
    "resize",
    "bool",
    **_LATER,
    about="with --mode weights: copy the common rows of a tensor that has another size",
)

AT_RESUME = {
    setting.name: setting
    for setting in (
        LR_SCHEDULER_TYPE,
        LR_SCHEDULER_KWARGS,
        WARMUP_STEPS,
        MAX_STEPS,
        HORIZON,
        SCHEDULE_FROM,
        BATCH_SIZE,
        ACCUMULATION,
        LOGGING_STEPS,
        EVAL_STEPS,
        SAVE_STEPS,
        SEED,
        SCHEDULER,
    )
}
#: Directives that say how a change is meant, and are not values in force afterwards.
DIRECTIVES = (HORIZON.name, SCHEDULE_FROM.name, SCHEDULER.name, ACCEPT.name, RESIZE.name)
#: A node's recipe of a schedule that was made for another length; it follows from the others.
RECIPE = "schedule"

_OWN_SCHEDULE = "the script made its schedule itself"
_CADENCE = "the script does so by epoch, or not at all"
_NONE = "the optimizers of this run have none"
#: Why a node may lack a setting that others have.
_ABSENT = {
    LR_SCHEDULER_TYPE.name: _OWN_SCHEDULE,
    LR_SCHEDULER_KWARGS.name: _OWN_SCHEDULE,
    WARMUP_STEPS.name: _OWN_SCHEDULE,
    HORIZON.name: _OWN_SCHEDULE,
    SCHEDULE_FROM.name: _OWN_SCHEDULE,
    LOGGING_STEPS.name: _CADENCE,
    EVAL_STEPS.name: _CADENCE,
    SAVE_STEPS.name: _CADENCE,
    LR.name: _NONE,
    WEIGHT_DECAY.name: _NONE,
    BETAS.name: _NONE,
    EPS.name: _NONE,
    MOMENTUM.name: _NONE,
    SCHEDULE_HELD.name: "no schedule of the script's own can be held",
    DROPOUT.name: "the model has no dropout modules",
}


def at_once(setting: Setting) -> Setting:
    """Return a setting of the loop itself for a loop that can change it while it runs."""
    return replace(setting, live=True, effect="from the next update")


def declared(rows: Iterable[Mapping[str, Any]]) -> dict[str, Setting]:
    """Return declarations by name, from their JSON form."""
    return {row["name"]: Setting(**row) for row in rows}


def validate_all(
    values: Mapping[str, Any], settings: Mapping[str, Setting], *, clamp: bool = False
) -> dict[str, Any]:
    """Return every value validated, all or nothing.

    ``clamp``: a number out of bounds becomes the nearest bound that is allowed, if there is one.

    Raises:
        InvalidInput: no value, an unknown name, or a value that its setting refuses.
    """
    if not values:
        allowed = f"one or more of {', '.join(sorted(settings))}"
        raise InvalidInput("settings", {}, allowed, what="No value was changed.")
    for name in values:
        if name not in settings:
            raise _unknown(name, values[name], settings)
    return {
        name: settings[name].validate(settings[name].nearest(value) if clamp else value)
        for name, value in values.items()
    }


def refuse_later(values: Mapping[str, Any], settings: Mapping[str, Setting]) -> None:
    """Refuse settings that only resumes can change, not a live run.

    Raises:
        InvalidInput: naming the first of them, and how it can be changed.
    """
    for name in values:
        if name in settings and not settings[name].live:
            raise InvalidInput(
                name,
                values[name],
                f"a resume: branchtrack resume NODE --set {name}=VALUE",
                what=f"{name} can be changed when a run is resumed, not while it trains.",
            )


def _unknown(name: str, value: Any, settings: Mapping[str, Setting]) -> InvalidInput:
    why = f" here: {_ABSENT[name]}" if name in _ABSENT else ""
    # Details are many; they are in the whole list.
    names = sorted(setting.name for setting in settings.values() if not setting.detail)
    return InvalidInput(
        name, value, ", ".join(names), what=f"There is no setting {shown(name)}{why}."
    )


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping.

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

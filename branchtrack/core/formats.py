"""How values are written for people: numbers, settings, bytes, times, states, ids.

Pure functions from values to text, which pages and shell share, so that a value reads the same in
both. It knows no markup and no terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from branchtrack.core.nonfinite import spelled
from branchtrack.core.schedules import is_recipe, recipe_words

#: What a result calls the first samples that changes of data are used for.
FROM_SAMPLE = "from_sample"
NOTHING = "–"
#: Numbers from here up to there are written out, all others with an exponent: 4e-3, never 0.004.
_PLAIN_FROM, _PLAIN_TO = 0.01, 1e6
#: Differences that are read together are written out from here on: side by side, exponents hide
#: which of them is the larger one.
_FINEST = 1e-4
MINUS = "−"
#: States of branches, requests and launches whose own names say too little.
_STATE_WORDS = {
    "running": "training",
    "suspended": "paused",
    "waiting": "waiting for a worker",
    "accepted": "waiting for the trainer",
    "received": "waiting for the trainer",
    "empty": "no node yet",
    "queued": "waiting for a worker",
    "submitted": "waiting in its cluster",
    "proposed": "waiting for a person",
}
_UNITS = ((60.0, "s"), (3600.0, "min"), (86400.0, "h"), (86400.0 * 30, "d"))


def as_number(value: Any) -> float | None:
    """Return a metric as stored (JSON spells NaN and infinity as text) as a float, or None."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def metric(value: Any) -> str:
    """Return a measured value to four significant digits: ``2.214``, ``12,346``, ``NaN``."""
    numeric = as_number(value)
    if numeric is None:
        return NOTHING
    if not math.isfinite(numeric):
        return _not_finite(numeric)
    # As it is written: 0.0099999 is 0.01 to four digits, and no longer small.
    size = abs(float(f"{numeric:.4g}"))
    if size and not _PLAIN_FROM <= size < _PLAIN_TO:
        return _scientific(f"{numeric:.3e}")
    decimals = 3 if size < 1 else max(0, 3 - int(math.floor(math.log10(size))))
    if 0 < size < 0.1:
        decimals = 3 - int(math.floor(math.log10(size)))
    return f"{numeric:,.{decimals}f}".replace("-", MINUS)


def axis_label(value: float) -> str:
    """Return a round number as the label of an axis: ``2,500``, ``0.25``, ``5e-3``."""
    if value and not _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return _scientific(f"{value:.3e}")
    return f"{value:,.6g}".replace("-", MINUS, 1)


def delta(value: Any) -> str:
    """Return a difference of measured values, always with its sign: ``+0.018``, ``−0.041``."""
    numeric = as_number(value)
    if numeric is None:
        return NOTHING
    if not math.isfinite(numeric):
        return _not_finite(numeric)
    if numeric == 0:
        return "0"
    if not _PLAIN_FROM <= abs(numeric) < _PLAIN_TO:
        return _scientific(f"{numeric:+.1e}")
    return f"{numeric:+,.3f}".replace("-", MINUS)


def deltas(values: Sequence[float | None], digits: int = 3) -> list[str]:
    """Return differences that are read together: with the decimals that the largest of them needs.

    It has so many ``digits``. None and what is not finite are written as by `delta`.
    """
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if not _FINEST <= largest < _PLAIN_TO:
        return [delta(value) for value in values]
    decimals = max(0, digits - 1 - math.floor(math.log10(largest)))
    return [
        delta(value)
        if not value or not math.isfinite(value)
        else f"{value:+,.{decimals}f}".replace("-", MINUS)
        for value in values
    ]


def setting(value: Any) -> str:
    """Return a setting to be read: ``3e-4``, ``true``; at most six digits, ``none`` for ""."""
    if value == "":
        return "none"
    return exact_setting(_rounded(value))


def exact_setting(value: Any) -> str:
    """Return a setting to be typed again: as `setting`, but nothing is rounded away."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _exact(value)
    if is_recipe(value):
        return recipe_words(value)
    if isinstance(value, dict) and value.get("$") == "tuple":
        # JSON has no tuples; this is how a captured state spells one.
        value = value.get("items")
    return str(value) if isinstance(value, (int, str)) else json.dumps(spelled(value))


def typed(value: Any) -> str:
    """Return a setting as a form's field shows it: as `setting`, and empty without a value."""
    return "" if value is None or value == "" else setting(value)


def setting_pair(before: Any, after: Any) -> tuple[str, str]:
    """Return two values of a setting, exactly where rounding would make them look alike."""
    short = setting(before), setting(after)
    if short[0] != short[1] or before == after:
        return short
    return exact_setting(before), exact_setting(after)


def change_words(name: str, before: Any, after: Any, step: int | None = None) -> str:
    """Return a change of a setting: ``lr 5e-3 → 1e-3``, and its step where it has one."""
    old, new = setting_pair(before, after)
    since = "" if step is None else f" (since step {steps(step)})"
    return f"{name} {old} → {new}{since}"


def steps(value: Any) -> str:
    """Return a count with thousands separators."""
    return NOTHING if value is None else f"{int(value):,}"


def size(nbytes: int | None) -> str:
    """Return bytes in decimal units: ``61.2 MB``."""
    if nbytes is None:
        return NOTHING
    amount, unit = float(nbytes), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def short(identifier: str | None) -> str:
    """Return an id or digest as shown: eight characters."""
    return (identifier or "")[:8]


def percent(share: float) -> str:
    """Return a share in percent with three digits: ``98.5 %``."""
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Return a span of time in one unit: ``42 s``, ``3 min``, ``5 h``, ``12 d``."""
    smaller = 1.0
    for limit, unit in _UNITS:
        if seconds < limit:
            return f"{max(0.0, seconds) / smaller:.0f} {unit}"
        smaller = limit
    return f"{seconds / 86400.0:.0f} d"


def ago(moment: float, now: float) -> str:
    """Return how long before ``now`` a moment was: ``just now``, ``3 min ago``."""
    passed = now - moment
    return "just now" if passed < 2 else f"{duration(passed)} ago"


def timestamp(moment: float) -> str:
    """Return a moment as a date and a time of day: ``2023-11-14 22:13:20 UTC``."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def state_words(state: str) -> str:
    """Return a state in words that a reader knows without the manual."""
    return _STATE_WORDS.get(state, state)


def process_words(name: str) -> str:
    """Return the name of a process, ``host:pid:start#task``, as ``host, process pid``."""
    parts = name.partition("#")[0].rsplit(":", 2)
    return f"{parts[0]}, process {parts[1]}" if len(parts) == 3 else name


def assignments(values: Mapping[str, Any] | None) -> str:
    """Return settings as ``lr = 3e-4, weight_decay = 0.01``."""
    pairs = (f"{name} = {setting(value)}" for name, value in (values or {}).items())
    return ", ".join(pairs)


def from_samples(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Describe from which sample of the data on changes are used, by setting, where it is known."""
    known = {name: number for name, number in numbers.items() if number is not None}
    return {name: f"from sample {steps(number)} on" for name, number in known.items()}


def outcome(result: Mapping[str, Any] | None) -> str:
    """Describe the result of a request: ``eval_loss 0.6100, branch cooler``; ids are left out."""
    flat: dict[str, Any] = {}
    for name, value in (result or {}).items():
        if name == FROM_SAMPLE and isinstance(value, Mapping):
            flat |= from_samples(value)
        else:
            flat.update(value if isinstance(value, Mapping) else {name: value})
    phrases = [
        f"{name} {metric(value)}" if as_number(value) is not None else f"{name} {str(value)[:120]}"
        for name, value in flat.items()
        if value is not None and name not in ("node", "segment", "launch")
    ]
    return ", ".join(phrases)


def plural(count: int, singular: str, many: str = "") -> str:
    """Return a count with its noun: ``1 node``, ``14 nodes``."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


def _rounded(value: Any) -> Any:
    """Return a float to six digits, and each in a list or a mapping."""
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _exact(value: float) -> str:
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return f"{int(value)}" if value == int(value) else repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    power = int(exponent) + len(text) - 1
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{power}"


def _scientific(text: str) -> str:
    mantissa, power = text.split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}".replace("-", MINUS, 1 if text.startswith("-") else 0)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")

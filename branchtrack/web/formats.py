"""How values are written on a page: numbers, settings, bytes, times, ids.

Pure functions from values to text (or escaped markup); no request, no database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup, escape

from branchtrack.core.nonfinite import spelled
from branchtrack.core.schedules import is_recipe, recipe_words

NOTHING = "–"
MINUS = "−"
#: What tells the states of branches, requests and launches on a page.
WORDS = {
    "running": "training",
    "waiting": "waiting for a worker",
    "accepted": "waiting for the trainer",
    "received": "waiting for the trainer",
    "empty": "no node yet",
    "queued": "waiting for a worker",
}
_UNITS = ((60.0, "s"), (3600.0, "min"), (86400.0, "h"), (86400.0 * 30, "d"))


def number(value: Any) -> float | None:
    """A metric as stored (JSON spells NaN and infinity as text) as a float, or None."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def metric(value: Any) -> str:
    """A measured value to four significant digits: ``2.214``, ``0.01234``, ``12,346``, ``NaN``."""
    numeric = number(value)
    if numeric is None:
        return NOTHING
    if not math.isfinite(numeric):
        return _not_finite(numeric)
    size = abs(numeric)
    if size and (size < 1e-3 or size >= 1e7):
        return _scientific(f"{numeric:.3e}")
    decimals = 3 if size < 1 else max(0, 3 - int(math.floor(math.log10(size))))
    if 0 < size < 0.1:
        decimals = 3 - int(math.floor(math.log10(size)))
    return f"{numeric:,.{decimals}f}".replace("-", MINUS)


def delta(value: Any) -> str:
    """A difference of measured values, always with its sign: ``+0.018``, ``−0.041``."""
    numeric = number(value)
    if numeric is None:
        return NOTHING
    if not math.isfinite(numeric):
        return _not_finite(numeric)
    if numeric == 0:
        return "0"
    if abs(numeric) < 5e-6:
        return _scientific(f"{numeric:+.1e}")
    return f"{numeric:+,.{3 if abs(numeric) >= 0.0005 else 5}f}".replace("-", MINUS)


def setting(value: Any) -> str:
    """A setting to be read: ``3e-4``, ``0.01``, ``true``; at most six digits, ``none`` for ""."""
    if value == "":
        return "none"
    return exact_setting(_rounded(value))


def exact_setting(value: Any) -> str:
    """A setting to be typed again: as `setting`, but nothing is rounded away."""
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


def setting_pair(before: Any, after: Any) -> tuple[str, str]:
    """Two values of a setting, exactly where rounding would make them look alike."""
    short = setting(before), setting(after)
    if short[0] != short[1] or before == after:
        return short
    return exact_setting(before), exact_setting(after)


def shown_setting(value: Any) -> Markup:
    """A setting for a page: as `setting`, with the exact value in the title where it is longer."""
    text, exact = setting(value), exact_setting(value)
    if text == exact or value == "":
        return escape(text)
    return Markup('<span title="{}">{}</span>').format(exact, text)


def steps(value: Any) -> str:
    """A count with thousands separators."""
    return NOTHING if value is None else f"{int(value):,}"


def size(nbytes: int | None) -> str:
    """Bytes in decimal units: ``61.2 MB``."""
    if nbytes is None:
        return NOTHING
    amount, unit = float(nbytes), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def short(identifier: str | None) -> str:
    """An id or digest as shown: eight characters."""
    return (identifier or "")[:8]


def duration(seconds: float) -> str:
    """A span of time in one unit: ``42 s``, ``3 min``, ``5 h``, ``12 d``."""
    smaller = 1.0
    for limit, unit in _UNITS:
        if seconds < limit:
            return f"{max(0.0, seconds) / smaller:.0f} {unit}"
        smaller = limit
    return f"{seconds / 86400.0:.0f} d"


def ago(moment: float | None, now: float) -> Markup:
    """A ``<time>``: relative to ``now``, absolute (UTC) in the title and for machines."""
    if moment is None:
        return Markup(NOTHING)
    at = datetime.fromtimestamp(moment, UTC)
    passed = now - moment
    text = "just now" if passed < 2 else f"{duration(passed)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC", text
    )


def code(text: str) -> Markup:
    """Text whose `backticks` become code; everything else is escaped."""
    parts = [
        Markup("<code>{}</code>").format(chunk) if index % 2 else escape(chunk)
        for index, chunk in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def word(state: str) -> str:
    """A state in words a reader knows without the manual."""
    return WORDS.get(state, state)


def assignments(values: Mapping[str, Any] | None) -> str:
    """Settings as ``lr = 3e-4, weight_decay = 0.01``."""
    pairs = (f"{name} = {setting(value)}" for name, value in (values or {}).items())
    return ", ".join(pairs)


def outcome(result: Mapping[str, Any] | None) -> str:
    """What came of a request in words: ``eval_loss 0.6100, branch cooler``; ids are left out."""
    flat: dict[str, Any] = {}
    for name, value in (result or {}).items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    phrases = [
        f"{name} {metric(value)}" if number(value) is not None else f"{name} {str(value)[:120]}"
        for name, value in flat.items()
        if value is not None and name not in ("node", "segment", "launch")
    ]
    return ", ".join(phrases)


def plural(count: int, singular: str, many: str = "") -> str:
    """``1 node``, ``14 nodes``."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


FILTERS = {
    "metric": metric,
    "delta": delta,
    "setting": shown_setting,
    "setting_pair": setting_pair,
    "exact": exact_setting,
    "steps": steps,
    "size": size,
    "short": short,
    "duration": duration,
    "code": code,
    "word": word,
    "assignments": assignments,
    "outcome": outcome,
    "plural": plural,
}


def _rounded(value: Any) -> Any:
    """A float to six digits, and each in a list or a mapping."""
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _exact(value: float) -> str:
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0 or 0.01 <= abs(value) < 1e6:
        return f"{int(value)}" if value == int(value) else repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    power = int(exponent) + len(text) - 1
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{power}"


def _scientific(text: str) -> str:
    mantissa, power = text.split("e")
    return f"{mantissa}e{int(power)}".replace("-", MINUS, 1 if text.startswith("-") else 0)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")

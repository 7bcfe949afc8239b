"""Secrets in command lines: recognised by their names, and neither stored nor shown.

It knows words alone. Environment variables have names of their own; see `core.variables`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "<redacted>"
_NAME = re.compile(
    r"(^|_)(PASS|PWD|AUTH|AUTHORIZATION|COOKIES?|DSN|CREDENTIALS?"
    r"|[A-Z0-9]*(SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY)|(API|ACCESS|SECRET|PRIVATE|CUSTOMER)_KEYS?)(_|$)"
)
#: The other words of an option about tokens of text: --pad-token, --tokens-per-token.
_OF_TEXT = frozenset(
    """PAD EOS BOS UNK SEP CLS MASK IMAGE AUDIO VIDEO SPECIAL START END STOP MAX MIN NUM N PER NEW
    ADDITIONAL PROMPT THINK TRIGGER""".split()
)
#: Names of options for a file that holds the secret, which is what a script should accept.
_ELSEWHERE = re.compile(r"_(FILE|PATH|DIR|ENV|VAR|NAME)$")
_HARMLESS = re.compile(r"true|false|yes|no|none|null|auto|", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|cookie|x-api-key)(\s*:\s*).+")
_ASSIGNED = re.compile(r"([-+~]*[A-Za-z_][\w.\-]*)=(.*)", re.DOTALL)
_OPTION = re.compile(r"--?[A-Za-z][\w.\-]*")


def is_secret(name: str) -> bool:
    """Return whether an argument of that name (``--api-key``, ``hub.token``) holds a secret."""
    plain = name.rpartition(".")[2].strip("-+~").replace("-", "_").upper()
    if _ELSEWHERE.search(plain):
        return False
    *others, last = plain.split("_")
    if last.endswith("TOKEN"):
        return not _OF_TEXT & {*others, last.removesuffix("TOKEN")}
    return bool(_NAME.search(plain))


def redacted(words: Iterable[object]) -> list[str]:
    """Return a command line without the secrets in it."""
    safe: list[str] = []
    for word in map(str, words):
        before = safe[-1] if safe else ""
        if _OPTION.fullmatch(before) and is_secret(before) and _may_be_secret(word):
            safe.append(REDACTED)
        else:
            safe.append(_redacted_word(word))
    return safe


def redacted_command(entry_point: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a recorded command without the secrets in it."""
    if not entry_point:
        return None if entry_point is None else {}
    env = entry_point.get("env") or {}
    argv = entry_point.get("argv")
    return {
        **entry_point,
        **({"argv": redacted(argv)} if argv else {}),
        **({"env": redacted_values(env)} if env else {}),
    }


def redacted_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by name without the secrets."""
    return {
        name: REDACTED
        if is_secret(name) and _may_be_secret(str(value))
        else _IN_ADDRESS.sub(rf"\1:{REDACTED}@", value)
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }


def missing(words: Iterable[object]) -> list[str]:
    """Return the arguments of a recorded command whose values were not recorded."""
    names, before = [], ""
    for word in map(str, words):
        if REDACTED in word:
            assigned = _ASSIGNED.match(word)
            names.append(before if word == REDACTED else assigned.group(1) if assigned else word)
        before = word
    return names


def _redacted_word(word: str) -> str:
    assigned = _ASSIGNED.fullmatch(word)
    if assigned and is_secret(assigned.group(1)) and _may_be_secret(assigned.group(2)):
        return f"{assigned.group(1)}={REDACTED}"
    word = _HEADER.sub(rf"\1\2{REDACTED}", word)
    return _IN_ADDRESS.sub(rf"\1:{REDACTED}@", word)


def _may_be_secret(value: str) -> bool:
    """Return False for values that are never a secret: the next option, a number, yes or no."""
    is_plain = _HARMLESS.fullmatch(value) or (len(value) < 6 and _NUMBER.fullmatch(value))
    return not is_plain and not _OPTION.fullmatch(value)

"""Options of a cluster's jobs as people write them, brought into a form that cannot be misread.

Pure values: it knows no cluster's commands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from branchtrack.core.launchers import ray_options
from branchtrack.errors import InvalidInput

#: The most options of a job, and characters of each.
_MOST, _LONGEST = 100, 1000
#: What every job gets from branchtrack itself, by the option that would change it.
_OURS = {
    "--job-name": "-J",
    "--output": "-o",
    "--error": "-e",
    "--input": "-i",
    "--open-mode": "",
    "--parsable": "",
    "--wrap": "",
    "--wait": "-W",
    "--test-only": "",
    "--array": "-a",
    "--quiet": "-Q",
    "--help": "-h",
    "--usage": "",
    "--version": "-V",
}
_SIGNAL = re.compile(r"([RB]*:)?(?!((SIG)?(KILL|STOP)|9|19)(@|$))[A-Z0-9]+(@\d+)?", re.IGNORECASE)


def checked(kind: str, options: Sequence[str]) -> list[str]:
    """Return the options of a job, each in one piece: ``-p main`` becomes ``-pmain``.

    So a word that belongs to no option can never be taken for a script or a command.

    Raises:
        InvalidInput: one is no option, or is one that branchtrack sets itself.
    """
    field = f"{kind} options"
    if len(options) > _MOST:
        raise InvalidInput(field, f"{len(options)} options", f"at most {_MOST}")
    joined = _joined(field, options)
    if kind == "ray":
        ray_options.parsed([option for option, _ in joined])
    else:
        for option, written in joined:
            _check(field, option, written)
    return [option for option, _ in joined]


def _joined(field: str, options: Sequence[str]) -> list[tuple[str, str]]:
    """Return each option in one piece, and as it was written."""
    joined: list[tuple[str, str]] = []
    # Whether the last option may still get its value in a word of its own.
    is_open = False
    for word in options:
        if not isinstance(word, str) or not word.isprintable() or len(word) > _LONGEST:
            raise InvalidInput(field, word, f"printable words of up to {_LONGEST} characters")
        if word.startswith("-") and word.strip("-"):
            joined.append((word, word))
            is_open = "=" not in word if word.startswith("--") else len(word) == 2
        elif is_open and word and not word.startswith("-"):
            option, written = joined[-1]
            piece = f"={word}" if option.startswith("--") else word
            joined[-1] = (option + piece, f"{written} {word}")
            is_open = False
        else:
            raise InvalidInput(field, word, "options, such as --partition=main or -p main")
    return joined


def _check(field: str, option: str, written: str) -> None:
    name, _, value = option.partition("=")
    if name.startswith("--"):
        # A long option may be cut short, as far as it stays the only one.
        is_ours = any(own.startswith(name) for own in _OURS)
    else:
        is_ours = any(letter and name.startswith(letter) for letter in _OURS.values())
    if is_ours:
        allowed = f"options other than {', '.join(_OURS)}: branchtrack sets these itself"
        raise InvalidInput(field, written, allowed)
    if name == "--signal" and (not _SIGNAL.fullmatch(value) or "B" not in value.partition(":")[0]):
        raise InvalidInput(
            field,
            written,
            "--signal=B:USR1@60 or another time: with B: it reaches the job's script, which has "
            "a node made first",
        )

"""What a launched process prints when branchtrack refuses a request of its script.

The user who ordered the launch reads its log: it should have the message, without the traceback
through our own code. Errors of the script itself are left alone.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn

from branchtrack import refusal_lines
from branchtrack.environment_variables import DEBUG_VARIABLE
from branchtrack.errors import BranchtrackError

#: The exit code of a process whose input cannot be used.
BAD_INPUT = 2


def print_messages() -> None:
    """Print only the message when an error of branchtrack's ends this process."""
    if sys.excepthook is not _hook:
        global _before
        _before, sys.excepthook = sys.excepthook, _hook


_before = sys.excepthook
#: Whether the hook is calling the one before it, which may have been put around it since.
_is_calling = False


def end_process(error: BranchtrackError) -> NoReturn:
    """End this process with exit code 2, for bad input, and only the message.

    Raises:
        SystemExit: always.
    """
    _print(error, error.__traceback__)
    raise SystemExit(BAD_INPUT) from error


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    global _is_calling
    if not isinstance(error, BranchtrackError):
        before, _is_calling = sys.__excepthook__ if _is_calling else _before, True
        try:
            before(kind, error, trace)
        finally:
            _is_calling = False
        return
    _print(error, trace)


def _print(error: BranchtrackError, trace: TracebackType | None) -> None:
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(type(error), error, trace)
    sys.stderr.write(refusal_lines.format_refusal(error))

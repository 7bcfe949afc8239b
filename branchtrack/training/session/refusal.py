"""What a launched process prints where branchtrack refuses what its script asks for.

Whoever ordered the launch reads its log: the message is for them, and the way that our own code
took to it is not. Errors of the script's own are left alone.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

from branchtrack.core import refusal_lines
from branchtrack.environment_variables import DEBUG_VARIABLE
from branchtrack.errors import BranchtrackError


def print_messages() -> None:
    """Have the message of an error of branchtrack's that ends this process printed, and no more."""
    if sys.excepthook is not _hook:
        global _before
        _before, sys.excepthook = sys.excepthook, _hook


_before = sys.excepthook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, BranchtrackError):
        _before(kind, error, trace)
        return
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(kind, error, trace)
    sys.stderr.write(refusal_lines.written(error))

"""How a launched process that is refused says so: in words, and where in its script."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from branchtrack.errors import REFUSED, BranchtrackError


def install() -> None:
    """Have an error of branchtrack's own printed as its message; any other as ever."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, BranchtrackError):
            before(kind, error, trace)
            return
        lines = [f"{REFUSED}{error.what}", error.safe, error.fix, _place(trace)]
        print("\n".join(line for line in lines if line), file=sys.stderr, flush=True)

    sys.excepthook = hook


def _place(trace: TracebackType | None) -> str:
    """Where in the script it was raised; whoever asked for the launch knows no other file."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    own = [frame for frame in traceback.extract_tb(trace) if frame.filename == script]
    return f"({script}, line {own[-1].lineno})" if own else ""

"""The way out that a refusal names, as what is given to an order."""

from __future__ import annotations

import re
from typing import Any

from branchtrack.errors import BranchtrackError


def way_out(error: BranchtrackError) -> dict[str, Any]:
    """``settings`` and ``mode`` of the command that the message says."""
    settings: dict[str, Any] = {}
    for option, name, value in re.findall(
        r"--(set) ([\w.]+)=('[^']*'|[^ ]+?)(?=[ ;:)]|\.?$)", error.fix
    ) + re.findall(r"--(accept) ([\w.,]+?)()(?=[ ;:)]|\.?$)", error.fix):
        settings |= {name: value.strip("'")} if option == "set" else {"accept": name}
    mode = "weights" if "--mode weights" in error.fix else "exact"
    settings |= {"resize": True} if "--resize" in error.fix else {}
    assert settings or mode == "weights", error.fix
    return {"settings": settings, "mode": mode}

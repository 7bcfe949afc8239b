"""What a node records of the process that created it, and the command that can start it again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from branchtrack import __version__, redaction, scripts
from branchtrack.core import variables
from branchtrack.training.ranks.models import group_size

#: Variables that change what a training computes; a resumed process gets them again.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "HF_HUB_OFFLINE",
    "TOKENIZERS_PARALLELISM",
)
#: The script as this process started with it: it may be edited during training.
_SCRIPT = scripts.digest(getattr(sys.modules.get("__main__"), "__file__", None))


def describe() -> dict[str, Any]:
    """Return versions, thread count, device, git commit and script: what exactness depends on."""
    facts: dict[str, Any] = {
        "branchtrack": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    facts |= _versions()
    if (size := group_size() or 1) > 1:
        facts["world_size"] = size
    more = {"git": _git_commit(), "script": _SCRIPT}
    return facts | {name: value for name, value in more.items() if value}


def entry_point() -> dict[str, Any] | None:
    """Return the command line of this process, or None if it does not run a script.

    ``argv`` (with the interpreter first, and without secrets), ``cwd`` and the few variables of
    ``env``.
    """
    argv = list(sys.orig_argv)
    if is_interactive():
        return None
    env = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    words = redaction.redacted([sys.executable, *argv[1:]])
    return {"argv": words, "cwd": os.getcwd(), "env": redaction.redacted_values(env)}


def surroundings() -> dict[str, Any]:
    """Return what the script may read beside its data: variables, and its own modules."""
    folder = scripts.folder_of(getattr(sys.modules.get("__main__"), "__file__", None))
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    module_digests = scripts.digests_below(folder, files) if folder is not None else {}
    return {**variables.recorded(_initial_variables()), "modules": module_digests}


def with_later_modules(before: dict[str, Any]) -> dict[str, Any]:
    """Return the surroundings with the modules imported since; the others as they were then."""
    return {**before, "modules": {**surroundings()["modules"], **before["modules"]}}


def _initial_variables() -> Mapping[str, str]:
    """Return the variables this process started with: libraries and the script set others."""
    try:
        items = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    pairs = [os.fsdecode(item).partition("=") for item in items if item]
    return {name: value for name, _, value in pairs}


def is_interactive() -> bool:
    """Return whether the process runs no script: a notebook, a prompt, or standard input."""
    script = sys.argv[0] if sys.argv else ""
    has_prompt = hasattr(sys, "ps1") or "ipykernel" in sys.modules
    return has_prompt or script in ("", "-") or len(sys.orig_argv) < 2


def script_name() -> str:
    """Return a name for a run whose script sets none: the script's own, or the module's."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        parts = [component for component in spec.name.split(".") if component != "__main__"]
        return parts[-1] if parts else "run"
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else "run"


@cache
def _versions() -> dict[str, str]:
    """Return the versions of the packages that train; they stay while a process lives."""
    versions = {}
    for package in ("torch", "transformers", "accelerate", "numpy"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _git_commit() -> str | None:
    try:
        completed = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip() or None

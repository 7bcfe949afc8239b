"""What runs in this process: command, code and packages, in a form that a later one compares.

Everything is read once, in a thread of its own: it is what the process was started with, and a
large repository must not delay training. Without git, or outside of a repository, the rest is
recorded.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Connection

from branchtrack import config, redaction, scripts
from branchtrack.db import segments
from branchtrack.db.storage import texts
from branchtrack.environment_variables import DIFF_VARIABLE

logger = logging.getLogger("branchtrack")

#: Bytes of an uncommitted difference that are recorded.
LONGEST_DIFF = 1 << 20
#: Bytes of one of the script's own files that are recorded, and how many of those files.
LONGEST_SOURCE, MOST_SOURCES = 1 << 18, 500
#: Names of untracked files that are recorded.
MOST_UNTRACKED = 200
_GIT_SECONDS = 20.0
_SOURCES = "sources/"
#: Nothing that the repository configures is run: no helper of a diff, no monitor of files.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "color.ui=false")
#: Variables that name the job that a process belongs to.
_JOBS = (
    "ORX_RUN_ID",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "JOB_ID",
    "RAY_JOB_ID",
    "WANDB_RUN_ID",
    "MLFLOW_RUN_ID",
    "GITHUB_RUN_ID",
    "CI_JOB_ID",
)


@dataclass(frozen=True)
class Code:
    """``facts`` as `Segment.code` has them, and the ``texts`` that they name, by name.

    The texts are ``diff``, ``packages`` and one ``sources/PATH`` for each file of the script's own.
    """

    facts: dict[str, Any]
    texts: dict[str, str]


class Reading(threading.Thread):
    """What runs here, read in the background; ``code`` is None until then, and if it failed."""

    def __init__(self) -> None:
        super().__init__(name="branchtrack code", daemon=True)
        self.code: Code | None = None
        self._lock, self._waiting, self._is_over = (
            threading.Lock(),
            list[Callable[[], object]](),
            False,
        )

    def run(self) -> None:
        """Read it; a failure leaves nothing, and is no trouble of the training's."""
        try:
            self.code = read()
        except Exception as error:
            logger.warning("branchtrack could not record what runs here: %s", error)
        with self._lock:
            self._is_over, waiting = True, self._waiting
        for job in waiting:
            job()

    def when_over(self, job: Callable[[], object]) -> None:
        """Call ``job`` once it is read, from this thread, or at once if it is."""
        with self._lock:
            if not self._is_over:
                self._waiting.append(job)
                return
        job()


@cache
def begin(_process: int) -> Reading:
    """Begin to read what runs in the process of that pid, once."""
    reading = Reading()
    reading.start()
    return reading


def record(connection: Connection, segment_id: str, code: Code) -> None:
    """Store what runs in the process of a segment, and the texts that it names by their digests."""
    digests = {name: texts.put(connection, text) for name, text in code.texts.items()}
    sources = {
        name.removeprefix(_SOURCES): digest
        for name, digest in digests.items()
        if name.startswith(_SOURCES)
    }
    named: dict[str, Any] = {
        name: digests[name] for name in ("diff", "packages") if name in digests
    }
    segments.set_code(connection, segment_id, {**code.facts, **named, "sources": sources})


def read() -> Code:
    """Read all of it; takes as long as git and the disk do."""
    installed = {name: each for each in distributions() if (name := each.metadata["Name"])}
    packages = sorted(f"{name}=={each.version}" for name, each in installed.items())
    bodies = {"packages": "\n".join(packages)}
    facts: dict[str, Any] = {
        "command": redaction.redacted([sys.executable, *sys.orig_argv[1:]]),
        "cwd": os.getcwd(),
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "imported": _imported(installed),
        "seeds": _seeds(),
        "jobs": {name: os.environ[name] for name in _JOBS if os.environ.get(name)},
    }
    sources = _sources()
    bodies |= {f"{_SOURCES}{path}": text for path, text in sources.items()}
    git_facts, diff = _repository()
    if diff:
        bodies["diff"] = diff
    return Code({**facts, **git_facts}, bodies)


def _imported(installed: Mapping[str, Distribution]) -> dict[str, str]:
    """Return the versions of the distributions that this process has imported something of.

    They are recognised by their own name or their list of modules, which not all have.
    """
    loaded = {name.partition(".")[0] for name in list(sys.modules)}
    return {
        name: each.version
        for name, each in sorted(installed.items())
        if name.replace("-", "_").lower() in loaded
        or loaded & set((each.read_text("top_level.txt") or "").split())
    }


def _seeds() -> dict[str, Any]:
    hash_seed = os.environ.get("PYTHONHASHSEED")
    return {"torch": torch.initial_seed(), **({"hash": hash_seed} if hash_seed else {})}


def _sources() -> dict[str, str]:
    """Return the script and its own modules as text, by their paths from the script's folder."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = scripts.folder_of(main)
    if folder is None:
        return {}
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = sorted(scripts.digests_below(folder, [main, *files]))[:MOST_SOURCES]
    return {path: text for path in paths if (text := _text(folder / path)) is not None}


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > LONGEST_SOURCE:
            return None
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return None


def _repository() -> tuple[dict[str, Any], str]:
    """Return the commit, branch and untracked files, and the uncommitted difference as text."""
    commit = _git("rev-parse", "HEAD").strip()
    if not commit:
        return {}, ""
    facts: dict[str, Any] = {
        "commit": commit,
        "branch": _git("rev-parse", "--abbrev-ref", "HEAD").strip(),
    }
    listed = _git("ls-files", "-z", "-o", "--exclude-standard").split("\0")
    home = os.path.relpath(config.load().home)
    untracked = [name for name in listed if name and not name.startswith(f"{home}{os.sep}")]
    facts["untracked"] = untracked[:MOST_UNTRACKED]
    facts["untracked_count"] = len(untracked)
    if os.environ.get(DIFF_VARIABLE, "1") in ("0", "no", "false", "off"):
        return {**facts, "diff_bytes": None}, ""
    diff = _git("diff", "HEAD", "--no-ext-diff", "--no-textconv")
    facts["diff_bytes"] = len(diff.encode("utf-8", "surrogateescape"))
    facts["diff_cut"] = facts["diff_bytes"] > LONGEST_DIFF
    return facts, diff[:LONGEST_DIFF] if facts["diff_cut"] else diff


def _git(*arguments: str) -> str:
    """Return what git prints; empty if it fails or takes too long."""
    try:
        completed = subprocess.run(
            [*_GIT, *arguments],
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return completed.stdout.decode("utf-8", "surrogateescape")

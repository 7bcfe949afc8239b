"""Scripts that are run in the test's own process, as a process of their own runs them."""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from branchtrack.training.session import ordinals


def run_script(folder: Path, *words: str, **variables: str) -> None:
    """Run the command ``python WORDS`` in a folder, with more variables; it may exit."""
    argv = words[1:] if words[0] == "-m" else words
    before = Path.cwd()
    os.chdir(folder)
    ordinals.reset()
    with (
        mock.patch.object(sys, "argv", list(argv)),
        mock.patch.object(sys, "orig_argv", [sys.executable, *words]),
        mock.patch.dict(os.environ, variables),
        suppress(SystemExit),
    ):
        try:
            if words[0] == "-m":
                # Another test may have imported it, which runpy warns of.
                sys.modules.pop(argv[0], None)
                runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(argv[0], run_name="__main__")
        finally:
            os.chdir(before)


class ChildHere:
    """Stands for `subprocess.Popen` in launches: the script runs here once its gate is opened."""

    def __init__(self, command: list[str], *, cwd: str, env: dict[str, str], **_: Any) -> None:
        self.words, self.folder, self.variables = command, Path(cwd), env
        self.pid, self.stdin = os.getpid(), self
        self.returncode: int | None = None

    def write(self, _: bytes) -> None:
        """What opens the gate."""

    def close(self) -> None:
        """The gate is open: train to the end."""
        start = self.words.index(sys.executable) + 1
        run_script(self.folder, *self.words[start:], **self.variables)
        self.returncode = 0

    def poll(self) -> int | None:
        """The exit code."""
        return self.returncode

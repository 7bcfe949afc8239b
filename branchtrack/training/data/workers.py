"""Workers of data loaders, when a signal comes to every process of a job at once.

A terminal and a scheduler signal the whole group. Training goes on to its next control point then,
and may need another batch for that: its workers end when their parent says so, or is gone.
"""

from __future__ import annotations

import os
import signal
import threading

from torch.utils.data import get_worker_info

_SPARED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_outlives = False


def outlive_signals() -> None:
    """In a worker, have signals of anybody but its parent do nothing from here on."""
    global _outlives
    if _outlives or get_worker_info() is None or not hasattr(signal, "sigwaitinfo"):
        return
    _outlives = True
    signal.pthread_sigmask(signal.SIG_BLOCK, _SPARED)
    threading.Thread(target=_obey_parent, name="branchtrack signals", daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo(_SPARED).si_pid != os.getppid():
        continue
    # As torch's own handler ends a worker that its parent has no more use for.
    os._exit(0)

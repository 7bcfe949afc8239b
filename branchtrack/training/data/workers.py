"""Workers of data loaders when every process of a job receives a signal at once.

A terminal and a scheduler signal the whole group. Training then continues to its next control
point, and may need another batch for that: its workers end when their parent ends them or is gone.
"""

from __future__ import annotations

import os
import signal
import threading

from torch.utils.data import get_worker_info

_SPARED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_outlives = False


def outlive_signals() -> None:
    """In a worker, ignore signals from now on unless its parent sends them."""
    global _outlives
    if _outlives or get_worker_info() is None or not hasattr(signal, "sigwaitinfo"):
        return
    _outlives = True
    signal.pthread_sigmask(signal.SIG_BLOCK, _SPARED)
    threading.Thread(target=_obey_parent, name="branchtrack signals", daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo(_SPARED).si_pid != os.getppid():
        continue
    # Exit as torch's own handler does for a worker that its parent no longer uses.
    os._exit(0)

"""A Slurm of one node for tests: its daemons run without systemd, and leave nothing behind.

All of it lies in a folder of its own; ports are free ones. Run as a script it shows that it works.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Debian's packages are slurm-wlm and munge.
PROGRAMS = ("sbatch", "squeue", "scontrol", "slurmctld", "slurmd", "munged")
_SECONDS = 60.0
#: More than there may be: jobs of tests mostly wait.
CPUS = 12

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobRequeue=1
KillWait=60
MinJobAge=3600
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
"""


def missing() -> str:
    """What is not installed; empty if a Slurm can be started."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    return ", ".join(absent)


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; its commands find it by the ``configuration``."""

    folder: Path

    @property
    def configuration(self) -> str:
        """What SLURM_CONF has to be."""
        return str(self.folder / "slurm.conf")

    def call(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        environment = {**os.environ, "SLURM_CONF": self.configuration}
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def requeue(self, job: str) -> None:
        """Have a job end and run again, without the two minutes that Slurm waits by itself."""
        self.call("scontrol", "requeue", job)
        self.hasten(job)

    def hasten(self, job: str) -> None:
        """Let a requeued job start as soon as there is room.

        That is after the second in which it was killed: slurmd refuses a start in the same.
        """
        deadline = time.monotonic() + _SECONDS
        while self.state(job) != "PENDING":
            assert time.monotonic() < deadline, self.call("scontrol", "show", "job", job)
            time.sleep(0.1)
        time.sleep(1.0)
        self.call("scontrol", "update", f"jobid={job}", "StartTime=now")

    def state(self, job: str) -> str:
        """The state of a job."""
        return self.call("squeue", "-h", "--states=all", "-j", job, "-o", "%T").strip()

    def jobs(self) -> list[str]:
        """The names of all jobs that there have been."""
        return self.call("squeue", "-h", "--states=all", "-o", "%j").split()


@contextmanager
def running() -> Iterator[Slurm]:
    """Start a Slurm, and stop it with all of its jobs at the end of the block."""
    # A socket's path may have 107 characters, and munged takes no folder that others can write.
    with tempfile.TemporaryDirectory(
        prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True
    ) as name:
        slurm, daemons = Slurm(Path(name)), list[subprocess.Popen[bytes]]()
        _configure(slurm)
        try:
            for command in _daemons(slurm):
                daemons.append(_start(slurm, command))
            _wait_until_idle(slurm, daemons)
            yield slurm
        finally:
            with suppress(Exception):
                slurm.call("scancel", "--state=PENDING", f"--user={getpass.getuser()}")
                slurm.call("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}")
            for daemon in reversed(daemons):
                daemon.send_signal(signal.SIGTERM)
            for daemon in daemons:
                with suppress(subprocess.TimeoutExpired):
                    daemon.wait(10)
                daemon.kill()
                daemon.wait()


def _configure(slurm: Slurm) -> None:
    for name in ("state", "spool"):
        (slurm.folder / name).mkdir()
    key = slurm.folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    controller, daemon = _free_ports(2)
    text = _CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        controller=controller,
        daemon=daemon,
        user=getpass.getuser(),
        folder=slurm.folder,
        cpus=CPUS,
    )
    Path(slurm.configuration).write_text(text)


def _daemons(slurm: Slurm) -> Iterator[list[str]]:
    folder = slurm.folder
    yield [
        _program("munged") or "munged",
        "--foreground",
        "--force",
        f"--key-file={folder}/munge.key",
        f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid",
        f"--seed-file={folder}/munged.seed",
        f"--log-file={folder}/munged.log",
    ]
    yield [_program("slurmctld") or "slurmctld", "-D", "-f", slurm.configuration]
    yield [_program("slurmd") or "slurmd", "-D", "-f", slurm.configuration]


def _start(slurm: Slurm, command: list[str]) -> subprocess.Popen[bytes]:
    with open(slurm.folder / f"{Path(command[0]).name}.out", "wb") as output:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "SLURM_CONF": slurm.configuration},
            start_new_session=True,
        )
    if "munged" in command[0]:
        _wait_for((slurm.folder / "munge.socket").exists, [daemon], slurm)
    return daemon


def _wait_until_idle(slurm: Slurm, daemons: list[subprocess.Popen[bytes]]) -> None:
    def is_idle() -> bool:
        with suppress(AssertionError):
            return "idle" in slurm.call("sinfo", "-h", "-o", "%T")
        return False

    _wait_for(is_idle, daemons, slurm)


def _wait_for(condition: object, daemons: list[subprocess.Popen[bytes]], slurm: Slurm) -> None:
    deadline = time.monotonic() + _SECONDS
    assert callable(condition)
    while not condition():
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        printed = [path.read_text()[-2000:] for path in sorted(slurm.folder.glob("*.out"))]
        assert not ended and time.monotonic() < deadline, (ended, printed)
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def _program(name: str) -> str | None:
    """The path of a program; the daemons are not on everybody's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


if __name__ == "__main__":
    began = time.monotonic()
    with running() as started:
        print(f"ready in {time.monotonic() - began:.1f} s: {started.configuration}")
        if "--wait" in sys.argv:
            signal.pause()

"""Slurm by its own commands: sbatch, squeue, scontrol, sacct, scancel.

They find their cluster as they do at a shell. It must not know the database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from branchtrack.core.launchers.jobs import JobStatus
from branchtrack.environment_variables import DATABASE_VARIABLE, LAUNCH_VARIABLE
from branchtrack.errors import ClusterUnreachable, LaunchFailed
from branchtrack.launching.clusters import slurm_answers
from branchtrack.launching.clusters.cluster import JobOrder

#: Seconds for an answer; a submission may wait for the scheduler.
_PATIENCE, _SUBMISSION = 20.0, 90.0
_NEEDED = ("sbatch", "squeue", "scancel")
#: What no job inherits: the database is in a file, and the job's launch is its own. A launch is one
#: job, and its script answers the signal: sbatch would take other options from the environment.
_PRIVATE = (DATABASE_VARIABLE, LAUNCH_VARIABLE, "SBATCH_ARRAY_INX", "SBATCH_SIGNAL")


class Slurm:
    """The Slurm cluster that this machine's commands reach."""

    kind = "slurm"
    where = ""
    takes_jobs_along = False

    def missing(self) -> str:
        """Return in a sentence what is missing here to reach it; empty if nothing is."""
        absent = [name for name in _NEEDED if shutil.which(name) is None]
        if not absent:
            return ""
        return f"This machine has no {absent[0]}: it is not part of a Slurm cluster."

    def command(self, order: JobOrder) -> list[str]:
        """Return the command that submits a job, as `submit` runs it."""
        # Slurm takes the last of several options: nothing before can change these.
        return [
            "sbatch",
            f"--chdir={order.folder}",
            *order.options,
            "--parsable",
            f"--job-name={order.name}",
            f"--output={_literal(str(order.output))}",
            "--open-mode=append",
            str(order.script),
        ]

    def submit(self, order: JobOrder, keep: Sequence[int] = ()) -> str:
        """Submit a job, and return its id; see `Cluster.submit`.

        Raises:
            LaunchFailed: sbatch refused it. ClusterUnreachable: nobody knows whether it was
            accepted.
        """
        code, answer, error = self._run(self.command(order), _SUBMISSION, keep)
        if code:
            if slurm_answers.is_unreachable(error):
                raise _unreachable(slurm_answers.plain(error))
            raise LaunchFailed(
                f"sbatch refused the job: {slurm_answers.plain(error)}.",
                safe="The node that it should have continued is untouched.",
                fix="The words after `--`, or the options of the profile, are sbatch's: "
                "`branchtrack launcher list` shows profiles.",
                launch=None,
                exit_code=code,
                log=None,
            )
        # With several clusters their name follows.
        job = (answer.strip().splitlines() or [""])[-1].partition(";")[0]
        if not job.isdigit():
            raise _unreachable(f"sbatch answered {answer[:200]!r}")
        return job

    def jobs(self, names: Sequence[str]) -> Mapping[str, Sequence[JobStatus]]:
        """Return the jobs that squeue lists, by name, in one call.

        Raises:
            ClusterUnreachable: squeue failed.
        """
        command = ["squeue", "--noheader", "--states=all", f"--format={slurm_answers.SQUEUE}"]
        code, answer, error = self._run([*command, f"--name={','.join(names)}"], _PATIENCE)
        if code:
            raise _unreachable(slurm_answers.plain(error))
        return slurm_answers.of_squeue(answer)

    def fate(self, job: str, name: str) -> JobStatus | None:
        """Return what scontrol knows of a job, or else the accounting; None if neither does.

        Raises:
            ClusterUnreachable: the controller did not answer.
        """
        code, answer, error = self._run(["scontrol", "show", "job", job], _PATIENCE)
        if code and slurm_answers.is_unreachable(error):
            raise _unreachable(slurm_answers.plain(error))
        if not code and (status := slurm_answers.of_scontrol(answer, name)) is not None:
            return status
        fields = f"--format={slurm_answers.SACCT}"
        command = ["sacct", "--jobs", job, "--allocations", "--noheader", "--parsable2", fields]
        code, answer, _ = self._run(command, _PATIENCE)
        # A cluster without accounting has no sacct, or one that fails.
        return None if code else slurm_answers.of_sacct(answer, name)

    def ask_to_end(self, job: str) -> None:
        """Send a job's script the signal that has its training make a node and end.

        Raises:
            ClusterUnreachable: scancel could not reach the controller.
        """
        self._scancel("--batch", "--signal=USR1", job)

    def cancel(self, job: str) -> None:
        """End a job, whatever its state.

        Raises:
            ClusterUnreachable: scancel could not reach the controller.
        """
        self._scancel(job)

    def _scancel(self, *arguments: str) -> None:
        code, _, error = self._run(["scancel", *arguments], _PATIENCE)
        # One that has ended meanwhile is as it should be.
        if code and slurm_answers.is_unreachable(error):
            raise _unreachable(slurm_answers.plain(error))

    def _run(
        self, command: Sequence[str], seconds: float, keep: Sequence[int] = ()
    ) -> tuple[int, str, str]:
        """Return exit code, output and errors of a command; 127 if there is no such command."""
        environment = {name: text for name, text in os.environ.items() if name not in _PRIVATE}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=tuple(keep),
            )
        except subprocess.TimeoutExpired as error:
            raise _unreachable(f"{command[0]} did not answer within {seconds:g} s") from error
        except OSError as error:
            return 127, "", f"{command[0]}: {error.strerror}"
        return done.returncode, done.stdout, done.stderr


def _literal(path: str) -> str:
    """Return a path in which Slurm replaces nothing."""
    return path.replace("%", "%%")


def _unreachable(why: str) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"Slurm does not answer: {why}.",
        safe="What was submitted goes on.",
        fix="`scontrol ping` says whether its controller is up.",
        cluster="slurm",
    )

"""Environment variables that a script may read: recorded, compared and restored at a resume.

From values alone. What belongs to a machine, a session or a job is left out; for what looks like a
secret only the name is kept, and a hint that reveals a changed value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from branchtrack.errors import InvalidInput
from branchtrack.redaction import REDACTED

#: Words of a name that mark its value as a secret; some are joined to other words (``PGPASSWORD``).
#: Names of many settings only contain them: MAX_TOKENS, KEY_DIM, AUTHORS.
_SECRET = re.compile(
    r"(^|_)(PWD|PASS|CREDENTIALS?|AUTH|COOKIES?|SIGNATURE|DSN|[A-Z0-9]*(TOKEN|SECRET|PASSWORD|PASSWD"
    r"|PASSPHRASE|APIKEY)|(API|ACCESS|SECRET|PRIVATE|CUSTOMER)_(KEYS?|TOKENS))(_|$)|(^|_)KEY$",
    re.IGNORECASE,
)
#: A user and a password within an address.
_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
#: Parts of names that identify one of several jobs of one script.
_ARRAYS = frozenset(
    """SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT PBS_ARRAY_INDEX PBS_ARRAYID LSB_JOBINDEX
    SGE_TASK_ID""".split()
)
#: What belongs to the machine, the session or the job that a process runs in.
#: PYTHONPATH is the command's, which moves with its folder.
_OUTSIDE = frozenset(
    """PATH PWD OLDPWD SHLVL _ HOME USER LOGNAME USERNAME SHELL TERM HOSTNAME HOST HOSTTYPE OSTYPE
    MACHTYPE DISPLAY MAIL EDITOR VISUAL PAGER MANPATH INFOPATH COLUMNS LINES COLORTERM LS_COLORS
    TMPDIR TMP TEMP RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK MASTER_ADDR
    MASTER_PORT GROUP_WORLD_SIZE ROLE_NAME ROLE_RANK ROLE_WORLD_SIZE
    TORCH_NCCL_ASYNC_ERROR_HANDLING INVOCATION_ID JOURNAL_STREAM PS1 PS2 PROMPT_COMMAND MAKEFLAGS
    MAKELEVEL MFLAGS
    WANDB_RUN_ID MLFLOW_RUN_ID JOB_ID CI_JOB_ID
    AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE
    AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_ALLOW_HTTP AWS_CA_BUNDLE
    STY WINDOWID DEBIAN_FRONTEND PYTHONPATH CI NOTIFY_SOCKET KRB5CCNAME LD_PRELOAD
    HISTFILE HISTSIZE HISTFILESIZE HISTCONTROL HISTIGNORE HISTTIMEFORMAT LESS LESSOPEN LESSCLOSE
    LESSHISTFILE LESSCHARSET TERM_PROGRAM TERM_PROGRAM_VERSION TERM_SESSION_ID TERMINFO TERMCAP
    OMP_WAIT_POLICY TMUX TMUX_PANE TMUX_TMPDIR VIRTUAL_ENV VIRTUAL_ENV_PROMPT WSLENV""".split()
)
_OWN = "BRANCHTRACK_"
_OUTSIDE_PREFIXES = (
    _OWN,
    "ORX_",
    "SLURM_",
    "SLURMD_",
    "SRUN_",
    "PBS_",
    "LSB_",
    "SGE_",
    "RAY_",
    "OMPI_",
    "PMI_",
    "PMIX_",
    "KUBERNETES_",
    "TORCHELASTIC_",
    "SSH_",
    "XDG_",
    "DBUS_",
    "CONDA_",
    "PYENV_",
    "NVM_",
    "npm_",
    "JPY_",
    "PYTEST_",
    "COV_CORE_",
    "GPG_",
    "SYSTEMD_",
    "VSCODE_",
    "WSL_",
    "GITHUB_",
)
#: Slurm says by it that a process runs in a job; anybody else may mean something by the name.
_OF_JOBS = {"ENVIRONMENT": "BATCH"}
#: Devices are assigned anew to each job: restored only if nothing is assigned.
ASSIGNED = frozenset(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"))
_LONGEST = 4_096
_BLANKS = str.maketrans("\n\r\t", "   ")


def recorded(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what to record: ``values`` by name, and ``secrets``: by name the first hex digits of a
    digest, which show later whether they are the same.
    """
    values: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        if not _is_followed(name, value, environ):
            continue
        hidden = _SECRET.search(name) or _SECRET_VALUE.search(value) or len(value) > _LONGEST
        if hidden or not value.translate(_BLANKS).isprintable():
            secrets[name] = _digest(name, value)
        else:
            values[name] = value
    return {"values": values, "secrets": secrets}


@dataclass(frozen=True)
class Comparison:
    """How an environment compares with the recorded one.

    ``given_back`` were set then and are not set now, ``replaced`` have another value now, and
    ``added`` are set only now. ``missing`` are secrets that are not set now, ``changed`` those that
    have another value now; ``assigned`` are variables that were chosen for this resume.
    """

    given_back: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    assigned: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """Return what the process needs in addition to the present environment."""
        return {**self.given_back, **self.replaced, **self.assigned}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: only names, but the values of what was chosen, which another start
        of the launch needs.
        """
        parts = ("given_back", "replaced", "added", "missing", "changed")
        names = {part: sorted(getattr(self, part)) for part in parts}
        return {**names, "given": dict(self.assigned)}

    def sentences(self) -> list[str]:
        """Return a line on each part that a user should know of."""
        lines = []
        for names, words in (
            (self.given_back, "Restored as the node's process had it: {}."),
            (self.replaced, "Has another value here; the node's is used: {}."),
        ):
            if names:
                pairs = [f"{name}={_shown(value)}" for name, value in sorted(names.items())]
                lines.append(words.format(_cut(pairs)))
        if self.missing:
            lines.append(
                f"Set for the node's process, looks secret, and is not set here: "
                f"{_cut(list(self.missing))}."
            )
        if self.changed:
            lines.append(
                f"Looks secret, so that only its name is recorded, and has another value "
                f"than the node's process had: {_cut(list(self.changed))}."
            )
        if self.added:
            lines.append(f"Set here and not for the node's process: {_cut(list(self.added))}.")
        return lines


def compare(
    before: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    assignments: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
) -> Comparison:
    """Compare the present environment with a record of `recorded` (None: nothing was recorded).

    ``given`` are values chosen for this resume; ``keep`` leaves the present environment as it is.
    """
    chosen = dict(assignments or {})
    if before is None or keep:
        return Comparison(assigned=chosen)
    values = {
        name: value
        for name, value in before["values"].items()
        if name not in chosen and _is_followed(name, value, environ)
    }
    secrets = [name for name in before["secrets"] if name not in chosen]
    # Older records have only a list of names.
    digests = before["secrets"] if isinstance(before["secrets"], Mapping) else {}
    expected = {*before["values"], *before["secrets"], *chosen}
    return Comparison(
        given_back={name: value for name, value in values.items() if name not in environ},
        replaced={
            name: value
            for name, value in values.items()
            if name in environ and environ[name] != value and name not in ASSIGNED
        },
        added=tuple(
            sorted(
                name
                for name, value in environ.items()
                if name not in expected and _is_followed(name, value, environ)
            )
        ),
        missing=tuple(name for name in secrets if name not in environ),
        changed=tuple(
            name
            for name in secrets
            if name in environ and name in digests and digests[name] != _digest(name, environ[name])
        ),
        assigned=chosen,
    )


def parse(assignments: tuple[str, ...]) -> dict[str, str]:
    """Return ``NAME=VALUE`` of the command line, by name.

    Raises:
        InvalidInput: one has no name or no equals sign, looks like a secret, or is a variable of
            branchtrack's own.
    """
    parsed = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidInput("env", text, "NAME=VALUE")
        if name.startswith(_OWN):
            raise InvalidInput(
                "env",
                text,
                f"variables that the script reads, none that begins with {_OWN}",
                what=f"env: {name} belongs to branchtrack itself, which sets it for the process.",
            )
        if _SECRET.search(name) or _SECRET_VALUE.search(value):
            raise InvalidInput(
                "env",
                f"{name}={REDACTED}",
                "variables that are not secrets",
                what=f"env: {name} looks like a secret, and what is given here is recorded. Set it "
                "in the environment of this command, or of the worker that starts the process: "
                "a resume inherits it.",
            )
        parsed[name] = value
    return parsed


def _is_followed(name: str, value: str, environ: Mapping[str, str]) -> bool:
    if _OF_JOBS.get(name) == value:
        return False
    if name in _ARRAYS or (name == "RANK" and "WORLD_SIZE" not in environ):
        return True
    return name not in _OUTSIDE and not name.startswith(_OUTSIDE_PREFIXES)


def _digest(name: str, value: str) -> str:
    """Return enough to see that a value has changed, and too little to find out what it is."""
    return hashlib.sha256(f"{name}{value}".encode(errors="surrogateescape")).hexdigest()[:4]


def _shown(value: str) -> str:
    return value[:80] if value[:80].isprintable() else repr(value[:80])


def _cut(items: list[str], most: int = 8) -> str:
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest

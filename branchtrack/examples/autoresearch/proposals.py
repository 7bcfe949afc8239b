"""Changes of a script that agents propose, and two agents: a scripted one, and a language model."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_PROGRAM = Path(__file__).with_name("program.md")
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Edit:
    """A text that is in a script exactly once, and what takes its place."""

    search: str
    replace: str


@dataclass(frozen=True)
class Proposal:
    """One idea, and the edits that try it."""

    idea: str
    edits: Sequence[Edit] = field(default=())

    def applied(self, script: str) -> str:
        """Return the script with all edits made.

        Raises:
            ValueError: the text of an edit is not in the script exactly once.
        """
        for edit in self.edits:
            if script.count(edit.search) != 1 or not edit.search:
                raise ValueError(f"not in the script exactly once: {edit.search[:80]!r}")
            script = script.replace(edit.search, edit.replace)
        return script


class Agent(Protocol):
    """Whoever proposes: sees the best script and a table of earlier experiments."""

    def propose(self, script: str, history: str) -> Proposal | None:
        """Return the next proposal, None if there is none."""
        ...


#: What the scripted agent tries: a loss, a mistake, an optimizer, an architecture, a schedule.
IDEAS = (
    Proposal(
        "label smoothing keeps the model from being too sure",
        [Edit("loss = loss_of(model, batch)", "loss = loss_of(model, batch, smoothing=0.05)")],
    ),
    Proposal(
        "short sequences first, then longer ones",
        [
            Edit(
                "            model.train()\n",
                "            model.train()\n"
                "            batch = batch[:, : [17, 33, 65][(run.update - WARM) // 25]]\n",
            )
        ],
    ),
    Proposal(
        "the rate is low for so few steps",
        [Edit("LR, WEIGHT_DECAY = 3e-3, 0.0", "LR, WEIGHT_DECAY = 1e-2, 0.0")],
    ),
    Proposal(
        "a wider state holds more", [Edit("HIDDEN, DROPOUT = 32, 96", "HIDDEN, DROPOUT = 32, 192")]
    ),
    Proposal(
        "gradients are clipped too hard",
        [
            Edit(
                "clip_grad_norm_(model.parameters(), 1.0)",
                "clip_grad_norm_(model.parameters(), 5.0)",
            )
        ],
    ),
)


class ScriptedAgent:
    """Proposes `IDEAS` one after the other, whatever came of them."""

    def __init__(self) -> None:
        self._ideas = iter(IDEAS)

    def propose(self, script: str, history: str) -> Proposal | None:
        """Return the next idea."""
        return next(self._ideas, None)


class ModelAgent:
    """A language model behind an OpenAI-compatible endpoint, asked anew for each experiment."""

    def __init__(self, base_url: str, model: str, api_key: str = "") -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model, self._api_key = model, api_key

    def propose(self, script: str, history: str) -> Proposal | None:
        """Ask for a proposal.

        Raises:
            ValueError: the answer is not such as `program.md` asks for.
        """
        content = f"train.py:\n```python\n{script}```\n\nExperiments so far:\n{history}"
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": _PROGRAM.read_text(encoding="utf-8")},
                {"role": "user", "content": content},
            ],
        }
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            answer = json.load(response)
        return read_proposal(answer["choices"][0]["message"]["content"])


def read_proposal(text: str) -> Proposal:
    """Return the proposal in a model's answer, which may have other text around its JSON.

    Raises:
        ValueError: there is none.
    """
    try:
        body: Any = json.loads(text[text.index("{") : text.rindex("}") + 1])
        edits = [Edit(str(edit["search"]), str(edit["replace"])) for edit in body["edits"]]
        return Proposal(" ".join(str(body["idea"]).split())[:500], edits)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the answer is no proposal: {text[:200]!r}") from error

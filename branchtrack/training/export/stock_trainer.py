"""The second half of an export, in a process of its own: what a stock Trainer resumes from.

    python -m branchtrack.training.export.stock_trainer DIR < facts.json

`checkpoints.export` has written weights, state and files into DIR without torch. Here the formats
of torch are added (``optimizer.pt``, ``scheduler.pt``, ``rng_state.pth``, ``trainer_state.json``),
and the model is opened as others open it: any difference from the exported bits is an error. The
store itself never sees any of these files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from branchtrack.checkpoints.tensors import decode
from branchtrack.training.export import conversion

Tensors = Mapping[str, torch.Tensor]


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Add a stock Trainer's files to an export, if the node is a Trainer's.

    ``facts`` are the node's ``step``, ``settings``, ``param_groups`` and its script's ``epochs``.
    """
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if "loop" not in state:
        # A merge has weights and no training to resume.
        return
    file = folder / "training_state.safetensors"
    tensors = load_file(file) if file.exists() else {}
    loop = decode(state["loop"], tensors)
    if "trainer" not in loop or "several" in state["optimizer"]:
        return
    torch.save(_optimizer(state["optimizer"], tensors, facts), folder / "optimizer.pt")
    if state["scheduler"] is not None:
        torch.save(_scheduler(state["scheduler"], tensors, facts), folder / "scheduler.pt")
    torch.save(_random(decode(state["rng"], tensors)), folder / "rng_state.pth")
    if loop.get("scaler"):
        torch.save(loop["scaler"], folder / "scaler.pt")
    text = json.dumps(_trainer(loop["trainer"], facts), indent=2, sort_keys=True) + "\n"
    (folder / "trainer_state.json").write_text(text, encoding="utf-8")


def _groups(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: decode(value, {}) for name, value in group.items()}
        for group in facts["param_groups"]
    ]


def _optimizer(
    state: Mapping[str, Any], tensors: Tensors, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return it as torch's optimizers spell it: parameters by number, in group order."""
    numbers: dict[str, int] = {}
    groups = _groups(facts)
    for group, names in zip(groups, state["groups"], strict=True):
        group["params"] = [numbers.setdefault(name, len(numbers)) for name in names]
    moments = {
        numbers[name]: {key: decode(value, tensors) for key, value in entry.items()}
        for name, entry in state["state"].items()
    }
    beside = decode(state.get("own", {}), tensors).get("beside", {})
    return {"state": moments, "param_groups": groups, **beside}


def _scheduler(
    state: Mapping[str, Any], tensors: Tensors, facts: Mapping[str, Any]
) -> dict[str, Any]:
    state_dict: dict[str, Any] = decode(state["state"], tensors)
    groups = _groups(facts)
    if "base_lrs" in state["settings"]:
        state_dict["base_lrs"] = [group["initial_lr"] for group in groups]
    if "_last_lr" in state["settings"]:
        state_dict["_last_lr"] = [group["lr"] for group in groups]
    return state_dict


def _random(captured: Mapping[str, Any]) -> dict[str, Any]:
    python, numpy = captured["python"], captured["numpy"]
    keys = tuple(int(key) for key in python["keys"])
    states: dict[str, Any] = {
        "python": (python["version"], keys, python["gauss"]),
        "numpy": (
            numpy["kind"],
            numpy["keys"],
            numpy["position"],
            numpy["has_gauss"],
            numpy["cached"],
        ),
        "cpu": captured["torch"],
    }
    devices = captured.get("cuda", {})
    return states | ({"cuda": devices["0"]} if "0" in devices else {})


def _trainer(counters: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    from transformers import TrainerControl

    settings = facts["settings"]
    cadences = {
        n: settings[n]
        for n in ("logging_steps", "eval_steps", "save_steps", "max_steps")
        if settings.get(n) is not None
    }
    batch = {"train_batch_size": settings["batch_size"]} if "batch_size" in settings else {}
    epochs = {"num_train_epochs": facts["epochs"]} if facts.get("epochs") else {}
    # Callbacks reset their own state; a Trainer needs that of the loop.
    callbacks = {"stateful_callbacks": {"TrainerControl": TrainerControl().state()}}
    history = {"log_history": [], "global_step": facts["step"]}
    return {**counters, **cadences, **batch, **epochs, **callbacks, **history}


def main() -> int:
    """Complete the export that the command line names; report errors as JSON."""
    folder, facts = Path(sys.argv[1]), json.loads(sys.stdin.read())
    try:
        conversion.complete(folder)
        write(folder, facts)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps({"error": None}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

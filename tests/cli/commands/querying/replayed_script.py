"""A training of a few updates, which dies at a step if it is told to."""

from __future__ import annotations

import os
import signal

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack


def main() -> None:
    """Train for eight updates with a node at each second."""
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = TensorDataset(torch.randn(32, 4), torch.randint(0, 2, (32,)))
    run = branchtrack.start(
        "replayed",
        model=model,
        optimizer=optimizer,
        data=DataLoader(data, batch_size=4, shuffle=True),
        max_steps=8,
        save_steps=2,
        seed=1,
    )
    with run:
        for inputs, labels in run.batches():
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
            if run.step():
                break
            if run.step_number == int(os.environ.get("DIE_AT", "0")):
                wait_for_record(run)
                os.kill(os.getpid(), signal.SIGKILL)


def wait_for_record(run: branchtrack.Run) -> None:
    """Wait until what was committed so far is durable."""
    recorder = run._session.recorder
    recorder.jobs.wait_for(run._session.committer.free)


if __name__ == "__main__":
    main()

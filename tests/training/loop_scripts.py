"""Plain loops of other kinds: closures, two optimizers, extra objects, gradients that wait."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import lr_scheduler as schedulers

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.training.loop.run import Run
from tests.training import loops
from tests.training.homes import Home


def lbfgs(home: Home, launch: Launch | None = None) -> Run:
    """A loop whose optimizer computes the loss itself, as often as it likes."""
    model = loops.net(0.0)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3, history_size=4)
    data = loops.loader("sequential")
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny", model=model, optimizer=optimizer, data=data, max_steps=9, save_steps=1
        )
    for batch in run.batches():

        def closure(batch: Any = batch) -> torch.Tensor:
            optimizer.zero_grad()
            loss = loops.loss_of(model, batch)
            loss.backward()
            return loss

        run.log(loss=optimizer.step(closure))
        run.step()
    run.finish()
    return run


def gan(home: Home, launch: Launch | None = None, *, every: int = 2, **given: Any) -> Run:
    """Two models that train each other; the generator takes part in every other update alone."""
    torch.manual_seed(1)
    maker, judge = (
        torch.nn.Linear(3, 6),
        torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.Dropout(0.1), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        ),
    )
    optimizers = {
        "judge": torch.optim.Adam(judge.parameters(), lr=0.01, betas=(0.5, 0.9)),
        "maker": torch.optim.RMSprop(maker.parameters(), lr=0.01),
    }
    schedule = schedulers.ExponentialLR(optimizers["judge"], 0.95)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model={"maker": maker, "judge": judge},
            optimizer=optimizers,
            scheduler={"judge": schedule},
            data=loops.loader(),
            **{"max_steps": 12, "save_steps": 1, "seed": 3, **given},
        )
    with run:
        for x, _ in run.batches():
            fake = maker(torch.randn(len(x), 3))
            loss = judge(fake.detach()).mean() - judge(x).mean()
            loss.backward()
            optimizers["judge"].step()
            schedule.step()
            if run.update % every == 0:
                (-judge(fake).mean()).backward()
                optimizers["maker"].step()
            for one in optimizers.values():
                one.zero_grad()
            run.log(loss=loss)
            if run.step():
                break
    return run


class Average:
    """A running mean of weights, counted, with a generator and a history of its own."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.count = model, 0
        self.mean = {n: p.detach().clone() for n, p in model.named_parameters()}
        self.seen: list[float] = []

    def update(self) -> None:
        """Take the present weights in, and a part of them back."""
        self.count += 1
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.mean[name].lerp_(parameter, 1 / (1 + self.count))
                parameter.lerp_(self.mean[name], 0.05)
        self.seen.append(float(next(iter(self.mean.values())).sum()))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {"mean": self.mean, "count": self.count, "seen": tuple(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.count, self.seen = state["count"], list(state["seen"])
        for name, value in state["mean"].items():
            self.mean[name].copy_(value)


def averaged(home: Home, launch: Launch | None = None, **given: Any) -> Run:
    """A loop with an extra object, and no data but what it draws itself."""
    model = loops.net()
    optimizer, average = loops.sgd(model), Average(model)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            objects={"average": average},
            **{"max_steps": 9, "save_steps": 1, "seed": 1, **given},
        )
    torch.randn(3)  # what a script does here is no part of the loop
    while not run.step():
        loss = loops.loss_of(model, (torch.randn(4, 6), torch.randint(0, 2, (4,))))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        run.log(loss=loss)
    run.finish()
    return run


def unfinished(home: Home, launch: Launch | None = None, **given: Any) -> Run:
    """A loop with a control point at every batch, and an update at every third."""
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            data=loops.loader(),
            **{"max_steps": 12, "save_steps": 1, "seed": 1, **given},
        )
    for batch in run.batches():
        loss = loops.loss_of(model, batch) / 3
        loss.backward()
        if run.update % 3 == 0:
            optimizer.step()
            optimizer.zero_grad()
        run.log(loss=loss)
        run.step()
    run.finish()
    return run


def scaled(home: Home, launch: Launch | None = None) -> Run:
    """A loop with a gradient scaler, clipping by a setting, and a schedule that counts epochs."""
    model = loops.net()
    optimizer, scaler = loops.sgd(model), torch.amp.GradScaler("cpu", growth_interval=2)
    schedule = schedulers.StepLR(optimizer, 1, 0.5)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            scheduler=schedule,
            data=loops.loader(),
            objects={"scaler": scaler},
            settings={"max_grad_norm": 0.5},
            max_steps=16,
            save_steps=1,
            seed=1,
        )
    with run:
        for batch in run.batches():
            loss = loops.loss_of(model, batch)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), run.settings["max_grad_norm"])
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if run.ends_epoch:
                schedule.step()
            run.log(loss=loss)
            if run.step():
                break
    return run


def accelerated(home: Home, launch: Launch | None = None) -> Run:
    """A loop whose objects accelerate has wrapped."""
    accelerator, model = Accelerator(cpu=True), loops.net()
    optimizer = loops.sgd(model)
    model, optimizer, schedule, data = accelerator.prepare(
        model,
        optimizer,
        schedulers.CosineAnnealingLR(optimizer, 9),
        loops.loader("random", loops.Points("torch")),
    )
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            scheduler=schedule,
            data=data,
            max_steps=9,
            save_steps=1,
            seed=1,
        )
    for batch in run.batches():
        loss = loops.loss_of(model, batch)
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        run.step()
    run.finish()
    return run


SCRIPTS = {
    "LBFGS": lbfgs,
    "two optimizers": gan,
    "an extra object": averaged,
    "gradients that wait": unfinished,
    "a gradient scaler, epochs": scaled,
    "accelerate": accelerated,
}

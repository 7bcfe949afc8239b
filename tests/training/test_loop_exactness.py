"""Resumed from any node, a plain loop ends in the same bits and logs the same values."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from torch.optim import lr_scheduler as schedulers
from torch.optim.lr_scheduler import StepLR
from torch.utils.data.distributed import DistributedSampler

from branchtrack.training.loop.run import Run
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop_scripts import SCRIPTS


class Listed:
    """Batches of no loader, drawn anew in each pass from the process's own generators."""

    def __iter__(self) -> Any:
        for _ in range(5):
            yield torch.randn(4, 6), torch.randint(0, 2, (4,))


class Drawn(torch.utils.data.Sampler[int]):
    """Draws every index from the process's own generator, one by one."""

    def __iter__(self) -> Any:
        for _ in range(loops.SAMPLES):
            yield int(torch.randint(0, loops.SAMPLES, ()))

    def __len__(self) -> int:
        return loops.SAMPLES


class Fives:
    """Makes batches itself."""

    def __iter__(self) -> Any:
        order = torch.randperm(loops.SAMPLES).tolist()
        return iter([order[start : start + 5] for start in range(0, 25, 5)])

    def __len__(self) -> int:
        return 5


def sampled(**given: Any) -> Callable[[], Any]:
    return lambda: torch.utils.data.DataLoader(loops.Points("python"), **given)


def prepared() -> Any:
    """A loader that accelerate has changed: it fetches one batch ahead, and counts passes."""
    return prepare_data_loader(
        loops.loader("random", loops.Points("numpy")),
        num_processes=1,
        process_index=0,
        use_seedable_sampler=True,
    )


def points(draws: str, count: int = loops.SAMPLES) -> Callable[[], Any]:
    return lambda: loops.Points(draws, count)


def fed(order: str = "random", data: Callable[[], Any] | None = None, **given: Any) -> Any:
    """What `loops.train` makes its loader with."""
    return lambda: loops.loader(order, data() if data else None, **given)


WORKERS: dict[str, Any] = {"num_workers": 2}
CASES: dict[str, dict[str, Any]] = {
    "random, evaluation": {"evaluated": True},
    "sequential, python": {"data": fed("sequential", points("python"))},
    "own generator, numpy": {"data": fed("generator", points("numpy")), "evaluated": True},
    "own generator, whole batches": {"data": fed("generator", points("torch", 24))},
    "random, torch, remainder": {
        "data": fed("random", points("torch")),
        "accumulation": 3,
        "max_steps": 4,
        "evaluated": True,
    },
    "drop last": {"data": fed("random", points("numpy"), drop_last=True)},
    "iterable, torch": {"data": fed("random", lambda: loops.Flow("torch")), "evaluated": True},
    "iterable, python, remainder": {
        "data": fed("random", lambda: loops.Flow("python")),
        "accumulation": 3,
        "max_steps": 4,
    },
    "any iterable": {"data": Listed},
    "a sampler that draws as it goes": {"data": sampled(batch_size=4, sampler=Drawn())},
    "a sampler of batches": {"data": sampled(batch_sampler=Fives())},
    "a sampler that is told the pass": {
        "data": sampled(batch_size=4, sampler=DistributedSampler(loops.Points(), 1, 0))
    },
    "accelerate's loader": {"data": prepared},
    "dropout alone": {"model": lambda: loops.net(0.5), "data": fed("sequential")},
    "no seed": {"seed": None},
}
ALL = os.environ.get("BRANCHTRACK_MATRIX") == "all"
#: Cases that are resumed from every step; of the others every second is enough, unless all are
#: asked for. With every change a few cases are resumed from a step of each of the two passes.
CORE = ("random, evaluation", "own generator, numpy", "iterable, torch")
EVERY = [(case, 1 if ALL or case in CORE else 2) for case in CASES]
QUICK = [("random, evaluation", 4), ("own generator, numpy", 4), ("iterable, python, remainder", 2)]
WITH_WORKERS: dict[str, dict[str, Any]] = {
    "map, torch": {
        "data": fed("random", points("torch"), **WORKERS, persistent_workers=True),
        "evaluated": True,
        "max_steps": 8,
    },
    "iterable, numpy": {
        "data": fed("random", lambda: loops.Flow("numpy", 28), **WORKERS),
        "accumulation": 3,
        "max_steps": 4,
    },
}


@pytest.mark.parametrize(("case", "every"), some(dict.fromkeys([*QUICK, *EVERY]), *QUICK))
def test_every_step_resumes_exactly(case: str, every: int, home: Home) -> None:
    loops.resumes_exactly(home, CASES[case], every=every)


@pytest.mark.parametrize("case", WITH_WORKERS)
def test_with_workers_it_is_the_same(case: str, home: Home) -> None:
    how = WITH_WORKERS[case]
    loops.resumes_exactly(home, how, every=1 if ALL else how["max_steps"] // 2)


def shape(step: int) -> float:
    return 0.9**step


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, shape),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda step: 0.95),
    "StepLR": lambda o: schedulers.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [3, 7], 0.5),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.2, total_iters=5),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 16, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 16),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, 3),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=20),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=3), schedulers.CosineAnnealingLR(o, 13)], [3]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.5, 4), schedulers.ExponentialLR(o, 0.9)], o
    ),
}


def test_every_scheduler_of_torch_is_among_them() -> None:
    base = schedulers.LRScheduler
    known = {
        name
        for name, one in vars(schedulers).items()
        if isinstance(one, type) and issubclass(one, base) and not name.startswith("_")
    }
    assert known - {"LRScheduler"} == set(SCHEDULES)


@pytest.mark.parametrize("name", some(SCHEDULES, "OneCycleLR", "SequentialLR"))
def test_every_scheduler_goes_on_where_it_was(name: str, home: Home) -> None:
    loops.resumes_exactly(home, {"scheduler": SCHEDULES[name], "data": fed("sequential")}, every=5)


def two_groups(model: Any) -> torch.optim.Optimizer:
    rest = [*model[1].parameters(), *model[4].parameters()]
    groups = [
        {"params": list(model[0].parameters()), "lr": 0.05},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.01)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam, amsgrad": lambda m: torch.optim.Adam(m.parameters(), lr=0.01, amsgrad=True),
    "AdamW, rate as a tensor": lambda m: torch.optim.AdamW(m.parameters(), torch.tensor(0.01)),
    "AdamW, two groups": two_groups,
    "RMSprop": lambda m: torch.optim.RMSprop(m.parameters(), 0.01, centered=True, momentum=0.5),
    "Adagrad": lambda m: torch.optim.Adagrad(m.parameters(), lr=0.1),
    "NAdam": lambda m: torch.optim.NAdam(m.parameters(), lr=0.01),
    "RAdam": lambda m: torch.optim.RAdam(m.parameters(), lr=0.01),
    "Adadelta": lambda m: torch.optim.Adadelta(m.parameters()),
    "Adamax": lambda m: torch.optim.Adamax(m.parameters()),
    "ASGD": lambda m: torch.optim.ASGD(m.parameters(), lr=0.1),
    "Rprop": lambda m: torch.optim.Rprop(m.parameters()),
    "Adafactor": lambda m: torch.optim.Adafactor(m.parameters(), lr=0.01),
}


@pytest.mark.parametrize("name", some(OPTIMIZERS, "AdamW, two groups", "Rprop"))
def test_every_optimizer_goes_on_where_it_was(name: str, home: Home) -> None:
    how = {"optimizer": OPTIMIZERS[name], "data": fed("sequential"), "max_steps": 8}
    loops.resumes_exactly(home, how, every=4)


#: Odd and even updates of the two, and gradients of one batch and of two that wait.
QUICK_SCRIPTS = [("two optimizers", 5), ("gradients that wait", 4)]
EVERY_SCRIPT = [(script, 1) for script in SCRIPTS]


@pytest.mark.parametrize(("script", "every"), some([*QUICK_SCRIPTS, *EVERY_SCRIPT], *QUICK_SCRIPTS))
def test_every_step_of_another_script_resumes_exactly(script: str, every: int, home: Home) -> None:
    train = SCRIPTS[script]
    train(home)
    whole, final = home.segment().id, home.final()
    assert final.kind == "final" and len(home.nodes()) == final.step + 1
    for node in home.nodes()[0 if every == 1 else every : -1 : every]:
        launch = home.order(node, {"save_steps": 1000})
        run = train(home, launch)
        assert not isinstance(run._live.scheduler, StepLR) or run._live.scheduler.last_epoch == 2
        assert home.final(launch).state_digest == final.state_digest, f"from {node.step}"
        rest = {s: v for s, v in home.points("loss", whole).items() if s > node.step}
        assert home.points("loss", launch.segment_id) == rest


def test_a_resume_of_a_resume_of_a_resume_is_exact(home: Home) -> None:
    how = {"data": fed("random", points("torch")), "evaluated": True}
    how |= {"max_steps": 10, "save_steps": 3}
    loops.train(home, **how)
    final, name = home.final().state_digest, "tiny/main"
    for step in (3, 6, 9):
        launch = home.order([n for n in home.nodes(name) if n.step == step][-1])
        loops.train(home, launch, **how)
        name = launch.branch_id
        assert home.final(launch).state_digest == final


def test_siblings_in_one_process_do_not_disturb_each_other(home: Home) -> None:
    loops.train(home, save_steps=6)
    node, final = home.node(6), home.final().state_digest
    plain, hot, again = (home.order(node, change) for change in ({}, {"lr": 0.5}, {}))
    for launch in (plain, hot, again):
        loops.train(home, launch, save_steps=6)
    digests = [home.final(launch).state_digest for launch in (plain, hot, again)]
    assert digests[0] == digests[2] == final != digests[1]


def test_tracking_changes_nothing_of_a_loop(home: Home) -> None:
    made = loops.net()
    optimizer, count = loops.sgd(made), 0
    torch.manual_seed(5)
    for batch in itertools.chain.from_iterable(loops.loader() for _ in range(2)):
        loops.loss_of(made, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        count += 1
        if count == loops.STEPS:
            break
    run = loops.train(home, save_steps=4)
    tracked = run._live.model.state_dict()
    assert all(torch.equal(value, tracked[name]) for name, value in made.state_dict().items())


def test_a_loader_can_be_used_by_one_run_after_another(home: Home) -> None:
    source = loops.loader()
    loops.train(home, data=lambda: source, save_steps=5)
    launch = home.order(home.node(5))
    loops.train(home, launch, data=lambda: source, save_steps=5)
    assert home.final(launch).state_digest == home.final().state_digest
    assert type(source.batch_sampler) is torch.utils.data.BatchSampler


BESIDE: dict[str, Callable[[], Any]] = {
    "random": fed("random", points("torch")),
    "a generator of its own": fed("generator"),
    "iterable": fed(data=lambda: loops.Flow("numpy")),
    "workers": fed("random", points("torch"), num_workers=1),
}


@pytest.mark.parametrize("case", some(BESIDE, "random"))
def test_who_reads_the_loader_beside_the_loop_disturbs_no_resume(case: str, home: Home) -> None:
    made: list[Any] = []

    def data() -> Any:
        made.append(BESIDE[case]())
        return made[-1]

    def look(run: Run, optimizer: Any) -> None:
        if run.update % 3 == 1:
            run.log(lr=sum(float(batch[0].sum()) for batch in made[-1]))
        elif run.update % 3 == 2:
            run.log(lr=float(next(iter(made[-1]))[0].sum()))

    # Just after the whole of it was read, and after one batch was.
    loops.resumes_exactly(home, {"data": data, "at": look}, every=4)

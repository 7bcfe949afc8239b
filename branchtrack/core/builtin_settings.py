"""Every built-in setting: what it may be, and what pages, resumes and scripts need to know of it.

A setting that a script, a dataset or an optimizer's constructor declares is not listed here. It
knows no optimizer and no loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput, shown

#: The groups of settings, in the order of pages.
OPTIMIZER, REGULARISATION = "Optimizer", "Regularisation"
SCHEDULE, CADENCE, DATA = "Schedule and length", "Logging and saving", "Data"
GROUPS = (OPTIMIZER, REGULARISATION, SCHEDULE, CADENCE, DATA)

#: The most updates that counters, databases and JSON can all hold.
_MOST_STEPS = 10**15
_NOT_IN_OPTIMIZERS = "the optimizers of this run have none"
_NOT_BY_STEPS = "the script does so by epoch, or not at all"

LR = Setting(
    "lr",
    minimum=0.0,
    maximum=100.0,
    above=True,
    about="base (peak) learning rate; the schedule continues from where it is",
    group=OPTIMIZER,
    short="lr",
    is_frequent=True,
    why_absent=_NOT_IN_OPTIMIZERS,
    arguments=("learning_rate",),
    in_groups=True,
)
WEIGHT_DECAY = Setting(
    "weight_decay",
    minimum=0.0,
    maximum=100.0,
    about="decoupled weight decay of decayed groups",
    group=REGULARISATION,
    short="decay",
    is_frequent=True,
    why_absent=_NOT_IN_OPTIMIZERS,
    in_groups=True,
)
MAX_GRAD_NORM = Setting(
    "max_grad_norm",
    minimum=0.0,
    maximum=1e6,
    infinite=True,
    about="gradient norm above which to clip; 0 is off",
    group=OPTIMIZER,
    short="clipping",
    is_frequent=True,
)
#: What a process that declared nothing can change.
BUILT_IN = (LR, WEIGHT_DECAY, MAX_GRAD_NORM)

#: Of optimizers and models; a run declares those that its own have.
BETAS = Setting(
    "betas",
    "floats",
    minimum=0.0,
    maximum=0.99999999,
    count=2,
    about="decay rates of the two moments",
    group=OPTIMIZER,
    short="betas",
    why_absent=_NOT_IN_OPTIMIZERS,
    arguments=("adam_beta1", "adam_beta2"),
    in_groups=True,
)
EPS = Setting(
    "eps",
    minimum=0.0,
    maximum=1.0,
    above=True,
    about="added to the denominator",
    group=OPTIMIZER,
    short="eps",
    why_absent=_NOT_IN_OPTIMIZERS,
    arguments=("adam_epsilon",),
    in_groups=True,
)
MOMENTUM = Setting(
    "momentum",
    minimum=0.0,
    maximum=1.0,
    about="momentum of SGD and similar",
    group=OPTIMIZER,
    short="momentum",
    why_absent=_NOT_IN_OPTIMIZERS,
    in_groups=True,
)
DROPOUT = Setting(
    "dropout",
    minimum=0.0,
    maximum=1.0,
    about="probability of every dropout module of the model",
    group=REGULARISATION,
    short="dropout",
    is_frequent=True,
    why_absent="the model has no dropout modules",
)
FROZEN = Setting(
    "frozen",
    "str",
    about="modules that do not train: names or patterns, separated by commas",
    group=REGULARISATION,
    short="frozen",
)
SCHEDULE_HELD = Setting(
    "schedule_held",
    "bool",
    about="whether the rate stays unchanged while the script's own schedule keeps counting; on "
    "release, a schedule computed from the step is where it would have been, any other continues "
    "from here",
    group=SCHEDULE,
    short="held",
    why_absent="no schedule of the script's own can be held",
)

#: Of the loop itself. Declared as they are at a resume; a loop that can change one while it runs
#: declares it by `at_once`.
_LATER: dict[str, Any] = {"effect": "from the resume on", "live": False}
_AT_RESUME: dict[str, Any] = {**_LATER, "at_resume": True}
_OF_SCHEDULE: dict[str, Any] = {
    **_AT_RESUME,
    "group": SCHEDULE,
    "why_absent": "the script made its schedule itself",
}
LR_SCHEDULER_TYPE = Setting(
    schedules.KIND,
    "choice",
    choices=tuple(schedules.ARGUMENTS),
    **_OF_SCHEDULE,
    about="shape of the schedule, which continues at the resumed step",
    short="schedule",
    replaces="scheduler",
    shapes_rates=True,
)
LR_SCHEDULER_KWARGS = Setting(
    schedules.KWARGS,
    "arguments",
    **_OF_SCHEDULE,
    about="arguments of the schedule beside warm-up and length, such as num_cycles=3 or "
    "min_lr_rate=0.1; another schedule begins without the arguments of the previous one",
    short="schedule arguments",
    replaces="scheduler",
    shapes_rates=True,
)
WARMUP_STEPS = Setting(
    "warmup_steps",
    "int",
    minimum=0,
    unit="updates",
    **_OF_SCHEDULE,
    about="counted from step 0 of the run",
    short="warm-up",
    replaces="scheduler",
    shapes_rates=True,
)
MAX_STEPS = Setting(
    "max_steps",
    "int",
    minimum=1,
    maximum=_MOST_STEPS,
    unit="updates",
    **_AT_RESUME,
    about="the step at which training ends",
    group=SCHEDULE,
    short="end",
    arguments=("num_train_epochs",),
    shapes_rates=True,
)
HORIZON = Setting(
    "horizon",
    "choice",
    choices=("extend", "rescale"),
    **_OF_SCHEDULE,
    about="with another max_steps: extend continues from the current rate and spreads the rest of "
    "the schedule over the remaining steps; rescale is the schedule as if it had been made for "
    "the new max_steps from step 0",
    short="horizon",
    is_directive=True,
    replaces="scheduler",
)
SCHEDULE_FROM = Setting(
    "schedule_from",
    "choice",
    choices=("start", "restart", "hold"),
    **_OF_SCHEDULE,
    about="where the shape of the schedule begins: start is as if it had been used from step 0; "
    "restart begins again here, with its warm-up, over the remaining steps; hold begins here "
    "after its warm-up, from the current rate (with lr_scheduler_type=constant: constant from "
    "here)",
    short="schedule from",
    is_directive=True,
)
STOP_AT = Setting(
    "stop_at",
    "int",
    minimum=1,
    maximum=_MOST_STEPS,
    unit="updates",
    **_LATER,
    about="the step at which this process ends, after an evaluation if it has one, under the "
    "schedule and length as they are; +N counts from the node, and a later resume trains on",
    group=SCHEDULE,
    short="stop",
    is_directive=True,
    why_absent="only a resume can change it",
)
BATCH_SIZE = Setting(
    "batch_size",
    "int",
    minimum=1,
    unit="samples",
    **_AT_RESUME,
    about="samples of one forward pass; the rest of the epoch is divided anew",
    group=DATA,
    short="batch",
    arguments=("per_device_train_batch_size",),
)
ACCUMULATION = Setting(
    "gradient_accumulation_steps",
    "int",
    minimum=1,
    unit="batches",
    **_AT_RESUME,
    about="batches of one update",
    group=DATA,
    short="accumulation",
)
WORLD_SIZE = Setting(
    "world_size",
    "int",
    minimum=1,
    maximum=1_000_000,
    unit="processes",
    **_AT_RESUME,
    about="processes that train together; weights, moments and schedule are as they were, and the "
    "rest of the epoch is divided among them anew",
    group=DATA,
    short="processes",
    why_absent="the script forms no process group",
    replaces="data position",
)
_OF_CADENCE: dict[str, Any] = {
    **_AT_RESUME,
    "minimum": 1,
    "unit": "updates",
    "group": CADENCE,
    "why_absent": _NOT_BY_STEPS,
}
LOGGING_STEPS = Setting("logging_steps", "int", **_OF_CADENCE, short="logging")
EVAL_STEPS = Setting("eval_steps", "int", **_OF_CADENCE, short="evaluation")
SAVE_STEPS = Setting("save_steps", "int", maximum=_MOST_STEPS, **_OF_CADENCE, short="saving")
LABEL_SMOOTHING = Setting(
    "label_smoothing_factor",
    minimum=0.0,
    maximum=1.0,
    about="share of each label that is spread over all classes; 0 is off",
    group=REGULARISATION,
    short="smoothing",
)
SEED = Setting(
    "seed",
    "int",
    minimum=0,
    maximum=2**32 - 1,
    **_AT_RESUME,
    about="everything drawn from here on; the order of the current epoch stays",
    group=DATA,
    short="seed",
    arguments=("data_seed",),
    replaces="rng",
)
RESHUFFLE = Setting(
    "reshuffle",
    "bool",
    **_LATER,
    about="together with seed: the samples that are left of the current epoch come in another "
    "order, too, drawn from the seed; each still comes once. Orders that are not random stay",
    group=DATA,
    short="reshuffle",
    is_directive=True,
    why_absent="only a resume of a run that has a seed can change it",
    replaces="rng",
)

#: For custom loops: the script itself makes the schedule.
SCHEDULER = Setting(
    "scheduler",
    "choice",
    choices=("node", "script"),
    **_AT_RESUME,
    about="whose schedule continues: the node's as it was, or the script's own, which is stepped "
    "to the node's step (other shape, length or warm-up)",
    group=SCHEDULE,
    short="scheduler",
    is_directive=True,
)

#: For a script that was edited since the node was created.
ACCEPT = Setting(
    "accept",
    "str",
    **_LATER,
    about="differences of the script that are intended, by the names used in the refusal, "
    "separated by commas (dataset_length)",
    group=DATA,
    short="accept",
    is_directive=True,
)
RESIZE = Setting(
    "resize",
    "bool",
    **_LATER,
    about="with --mode weights: copy the common rows of a tensor that has another size",
    group=DATA,
    short="resize",
    is_directive=True,
)

#: Every setting above, by name.
SETTINGS = {
    setting.name: setting for setting in tuple(vars().values()) if isinstance(setting, Setting)
}
AT_RESUME = {name: setting for name, setting in SETTINGS.items() if setting.at_resume}
#: Directives that say how a change is meant, and are not values in force afterwards.
DIRECTIVES = tuple(name for name, setting in SETTINGS.items() if setting.is_directive)
#: A node's recipe of a schedule that was made for another length; it follows from the others.
RECIPE = "schedule"

#: The same if the schedule cycles momentum: the setting is the cycle's upper bound.
CYCLED_BETAS = replace(
    BETAS,
    about="decay rates of the two moments; the schedule cycles the first, and its setting is the "
    "maximum of the cycle, whose minimum keeps its ratio to it",
)
CYCLED_MOMENTUM = replace(
    MOMENTUM,
    about="the schedule cycles it, and the setting is the maximum of the cycle, whose minimum "
    "keeps its ratio to it",
)


def at_once(setting: Setting) -> Setting:
    """Return a setting of the loop itself for a loop that can change it while it runs."""
    return replace(setting, live=True, effect="from the next update")


def declared(rows: Iterable[Mapping[str, Any]]) -> dict[str, Setting]:
    """Return declarations by name, from their JSON form; earlier versions wrote no group there."""
    return {
        row["name"]: Setting(**row) if "group" in row else _grouped(Setting(**row)) for row in rows
    }


def _grouped(setting: Setting) -> Setting:
    local_name = setting.name.rpartition(".")[2]
    if setting.name.startswith("data."):
        return replace(setting, group=DATA)
    if setting.about.startswith(f"{local_name} of "):
        return replace(setting, group=OPTIMIZER)
    facts = SETTINGS.get(local_name, setting)
    return replace(setting, group=facts.group, short=facts.short, is_frequent=facts.is_frequent)


def validate_all(
    values: Mapping[str, Any], settings: Mapping[str, Setting], *, clamp: bool = False
) -> dict[str, Any]:
    """Return every value validated, all or nothing.

    ``clamp``: a number out of bounds becomes the nearest bound that is allowed, if there is one.

    Raises:
        InvalidInput: no value, an unknown name, or a value that its setting refuses.
    """
    if not values:
        allowed = f"one or more of {', '.join(sorted(settings))}"
        raise InvalidInput("settings", {}, allowed, what="No value was changed.")
    for name in values:
        if name not in settings:
            raise _unknown(name, values[name], settings)
    return {
        name: settings[name].validate(settings[name].nearest(value) if clamp else value)
        for name, value in values.items()
    }


def refuse_later(values: Mapping[str, Any], settings: Mapping[str, Setting]) -> None:
    """Refuse settings that only resumes can change, not a live run.

    Raises:
        InvalidInput: naming the first of them, and how it can be changed.
    """
    for name in values:
        if name in settings and not settings[name].live:
            raise InvalidInput(
                name,
                values[name],
                f"a resume: branchtrack resume NODE --set {name}=VALUE",
                what=f"{name} can be changed when a run is resumed, not while it trains.",
            )


def _unknown(name: str, value: Any, settings: Mapping[str, Setting]) -> InvalidInput:
    why_absent = SETTINGS[name].why_absent if name in SETTINGS else ""
    why = f" here: {why_absent}" if why_absent else ""
    # Details are many; they are in the whole list.
    names = sorted(setting.name for setting in settings.values() if not setting.detail)
    return InvalidInput(
        name, value, ", ".join(names), what=f"There is no setting {shown(name)}{why}."
    )

"""Every setting of live objects has a reader and a writer, built again only for other objects."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from branchtrack.training.settings import registry
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import Live
from tests.training.settings.two_groups import SCHEDULES, two_groups


def several() -> Live:
    """Two optimizers by name, over one model each."""
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    optimizers = {name: torch.optim.SGD(model[name].parameters(), 0.1) for name in model}
    return Live(model, optimizers, None, SimpleNamespace(max_grad_norm=1.0), [True, True])


def test_what_is_written_is_read_back() -> None:
    handles = registry.of(two_groups())
    for name, value in (("lr", 0.5), ("eps", 1e-3), ("frozen", "0"), ("group1.lr", 0.25)):
        handles[name].write(value)
        assert handles[name].read() == value


def test_settings_of_a_named_optimizer_begin_with_its_name() -> None:
    live = several()
    handles = registry.of(live)
    assert {"a.lr", "b.lr", "frozen"} <= handles.keys() and "lr" not in handles
    handles["b.lr"].write(0.5)
    assert [group["lr"] for group in live.groups] == [0.1, 0.5]


def test_several_optimizers_share_no_clipping() -> None:
    assert not any(name.endswith("max_grad_norm") for name in registry.of(several()))


def test_a_schedule_can_be_held_where_there_is_one() -> None:
    assert "schedule_held" not in registry.of(two_groups())
    handles = registry.of(two_groups(SCHEDULES["step"]))
    assert handles["schedule_held"].read() is False
    assert "schedule_held" not in registry.of(two_groups(SCHEDULES["one cycle"]))


def test_a_registry_is_built_once_for_the_same_objects() -> None:
    live = two_groups()
    first = registry.current(live)
    live.groups[0]["lr"] = 0.5
    assert registry.current(live) is first


def test_another_module_group_or_setting_has_the_registry_built_again() -> None:
    live = two_groups()
    first = registry.current(live)
    live.model.append(torch.nn.Dropout(0.5))
    second = registry.current(live)
    assert second is not first and second.handles["dropout"].read() == 0.5
    live.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    live.decayed.append(True)
    assert "group2.lr" in registry.of(live)
    live.values = Values({"alpha": 0.5})
    assert registry.of(live)["alpha"].read() == 0.5


def test_looking_at_the_authors_setting_does_not_count_as_a_read() -> None:
    live = two_groups()
    live.values = Values({"alpha": 0.5})
    registry.of(live)["alpha"].read()
    assert live.values.take_read() == {}


def test_dropout_of_a_model_in_eval_is_set_but_not_used() -> None:
    live = two_groups()
    live.model.append(torch.nn.Dropout(0.5))
    live.model.eval()
    handle = registry.of(live)["dropout"]
    assert handle.in_use is not None
    assert (handle.read(), handle.in_use()) == (0.5, 0.0)

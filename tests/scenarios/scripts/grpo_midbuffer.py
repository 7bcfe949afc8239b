from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from trl import GRPOConfig, GRPOTrainer

import branchtrack

set_seed(5)
words = [f"w{i}" for i in range(40)]
raw = Tokenizer(
    models.WordLevel(
        {w: i for i, w in enumerate(["<pad>", "<eos>", "<unk>", *words])}, unk_token="<unk>"
    )
)
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tok = PreTrainedTokenizerFast(
    tokenizer_object=raw,
    pad_token="<pad>",
    eos_token="<eos>",
    unk_token="<unk>",
    padding_side="left",
)
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=43,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
    )
)
model.warnings_issued = {}


def reward(completions, **_):
    return [float(len(set(c.split()))) + c.count("w1") for c in completions]


T = branchtrack.make_branching(GRPOTrainer)
T(
    model=model,
    processing_class=tok,
    reward_funcs=reward,
    train_dataset=Dataset.from_dict({"prompt": [f"w{i} w{i + 1}" for i in range(32)]}),
    args=GRPOConfig(
        output_dir="out",
        run_name="grpo",
        max_steps=14,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        num_generations=4,
        steps_per_generation=4,
        num_iterations=1,
        max_completion_length=8,
        logging_steps=1,
        save_steps=5,
        bf16=False,
        gradient_checkpointing=False,
        beta=0.0,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

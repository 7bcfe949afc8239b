import os
import sys

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

import branchtrack

set_seed(5)
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=64,
        n_positions=32,
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
)
g = torch.Generator().manual_seed(0)
rows = [
    {"input_ids": (x := torch.randint(0, 64, (16,), generator=g)), "labels": x} for _ in range(40)
]


class Die(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if os.environ.get("DIE") and state.global_step == 17:
            os.kill(os.getpid(), 9)


t = branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows,
    callbacks=[Die()],
    args=TrainingArguments(
        output_dir="out",
        run_name="idiom",
        num_train_epochs=3,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_steps=5,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
)
last = get_last_checkpoint("out") if os.path.isdir("out") else None
t.train(resume_from_checkpoint=True if sys.argv[1] == "true" else last)

import time

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

import branchtrack

set_seed(1)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
)
g = torch.Generator().manual_seed(0)
rows = [{"input_ids": torch.randint(0, 64, (12,), generator=g), "labels": i % 2} for i in range(64)]


class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **kw):
        time.sleep(0.15)
        print("step", state.global_step, flush=True)


branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows,
    callbacks=[Slow()],
    args=TrainingArguments(
        output_dir="out",
        run_name="job",
        max_steps=60,
        learning_rate=1e-3,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_steps=25,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

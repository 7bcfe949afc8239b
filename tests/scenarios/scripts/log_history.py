import json

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

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
t = branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows,
    eval_dataset=rows[:8],
    args=TrainingArguments(
        output_dir="out",
        run_name="hist",
        num_train_epochs=3,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_steps=6,
        eval_strategy="steps",
        eval_steps=5,
        include_num_input_tokens_seen="all",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
)
r = t.train()
now = {
    "history": [(h["step"], h["loss"]) for h in t.state.log_history if "loss" in h],
    "train_loss": r.training_loss,
    "flos": t.state.total_flos,
    "tokens": t.state.num_input_tokens_seen,
}
open("out-seen.jsonl", "a").write(json.dumps(now) + "\n")

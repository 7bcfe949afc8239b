import os
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
    def on_step_end(self, *a, **k):
        time.sleep(0.2)


def score(p):
    return {"score": -abs(t.state.global_step - 12)}  # the best is step 12, in every branch


t = branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows[:48],
    eval_dataset=rows[48:],
    callbacks=[Slow()],
    compute_metrics=score,
    args=TrainingArguments(
        output_dir="out",
        run_name="share",
        max_steps=32,
        learning_rate=5e-3,
        per_device_train_batch_size=4,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=4,
        save_steps=4,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        save_total_limit=int(os.environ.get("LIMIT", 2)),
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
)
t.train()
at12 = [h["eval_loss"] for h in t.state.log_history if h.get("step") == 12 and "eval_loss" in h][0]
now = t.evaluate()["eval_loss"]
print(
    "best",
    t.state.best_model_checkpoint,
    "eval_loss at step 12:",
    at12,
    "of the model loaded at the end:",
    now,
    "PASS" if now == at12 else "FAIL",
    flush=True,
)

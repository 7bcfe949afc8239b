import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
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
t = branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows[:48],
    eval_dataset=rows[48:],
    callbacks=[EarlyStoppingCallback(3)],
    args=TrainingArguments(
        output_dir="out",
        run_name="early",
        max_steps=80,
        learning_rate=5e-3,
        per_device_train_batch_size=4,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=4,
        save_steps=4,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
)
print("before", t.evaluate()["eval_loss"])
t.train()
print(
    "best",
    t.state.best_metric,
    t.state.best_model_checkpoint,
    "at",
    t.state.global_step,
    "after",
    t.evaluate()["eval_loss"],
    flush=True,
)

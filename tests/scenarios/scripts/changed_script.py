import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

import branchtrack

K = dict(x.split("=") for x in open("knobs.txt").read().split())  # what the user edits between
set_seed(1)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=int(K.get("labels", 2)),
    )
)
if "vocab" in K:
    model.resize_token_embeddings(int(K["vocab"]))
g = torch.Generator().manual_seed(0)
rows = [
    {"input_ids": torch.randint(0, 64, (12,), generator=g), "labels": i % 2}
    for i in range(int(K.get("rows", 64)))
]


class T(Trainer):
    def compute_loss(self, *a, **k):
        return super().compute_loss(*a, **k)


branchtrack.make_branching(T)(
    model=model,
    train_dataset=rows,
    args=TrainingArguments(
        output_dir="out",
        run_name="edit",
        num_train_epochs=float(K.get("epochs", 2)),
        learning_rate=float(K.get("lr", 1e-3)),
        per_device_train_batch_size=int(K.get("bs", 4)),
        logging_steps=1,
        save_steps=4,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

import branchtrack


def make(T, out, name):
    set_seed(1)
    m = BertForSequenceClassification(
        BertConfig(
            vocab_size=64,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    )
    g = torch.Generator().manual_seed(0)
    rows = [
        {"input_ids": torch.randint(0, 64, (12,), generator=g), "labels": i % 2} for i in range(64)
    ]
    return T(
        model=m,
        train_dataset=rows,
        args=TrainingArguments(
            output_dir=out,
            run_name=name,
            max_steps=20,
            learning_rate=1e-3,
            per_device_train_batch_size=4,
            logging_steps=1,
            save_steps=4,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
    )


if __name__ == "__main__":
    make(branchtrack.make_branching(Trainer), "out", "exp").train()

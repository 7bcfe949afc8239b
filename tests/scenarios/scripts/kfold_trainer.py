import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

import branchtrack

g = torch.Generator().manual_seed(0)
rows = [{"input_ids": torch.randint(0, 64, (12,), generator=g), "labels": i % 2} for i in range(60)]
for fold in range(3):
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
    branchtrack.make_branching(Trainer)(
        model=m,
        train_dataset=[r for i, r in enumerate(rows) if i % 3 != fold],
        args=TrainingArguments(
            output_dir=f"out/fold{fold}",
            run_name=f"fold{fold}",
            max_steps=20,
            learning_rate=1e-3,
            per_device_train_batch_size=4,
            logging_steps=1,
            save_steps=5,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
    ).train()

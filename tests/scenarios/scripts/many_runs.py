import sys

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
rows = [{"input_ids": torch.randint(0, 64, (12,), generator=g), "labels": i % 2} for i in range(64)]
T = branchtrack.make_branching(Trainer)


class Prints(T):
    def log(self, logs, *a, **k):
        print(
            self.args.run_name,
            self.args.learning_rate,
            self.state.global_step,
            logs.get("loss"),
            flush=True,
        )
        return super().log(logs, *a, **k)


def trainer(lr, name):
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
    return Prints(
        model=model,
        train_dataset=rows,
        args=TrainingArguments(
            output_dir="out",
            run_name=name,
            max_steps=12,
            learning_rate=lr,
            per_device_train_batch_size=4,
            logging_steps=1,
            save_steps=4,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
    )


if sys.argv[1] == "sweep":  # an optuna-like loop, the same name each time
    for lr in (1e-2, 1e-3, 1e-4):
        trainer(lr, "sweep").train()
elif (
    sys.argv[1] == "phases"
):  # two phases, the second trains what the first made, with another name
    t = trainer(1e-3, "phase")
    t.train()
    u = trainer(1e-4, "phase-two")
    u.model.load_state_dict(t.model.state_dict())
    u.train()
elif sys.argv[1] == "again":  # train() twice on one Trainer
    t = trainer(1e-3, "again")
    t.train()
    t.train()
print("script ended")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

import branchtrack

set_seed(5)
epochs, vocab, n = eval(open("conf").read())
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=vocab,
        n_positions=32,
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
)
rows = [
    {"input_ids": (x := torch.tensor([(i * 7 + j * j) % 64 for j in range(12)])), "labels": x}
    for i in range(n)
]
branchtrack.make_branching(Trainer)(
    model=model,
    train_dataset=rows,
    args=TrainingArguments(
        output_dir="out",
        run_name="grow",
        num_train_epochs=epochs,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_steps=5,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

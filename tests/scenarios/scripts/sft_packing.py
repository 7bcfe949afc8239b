import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

import branchtrack

set_seed(5)
words = [f"w{i}" for i in range(60)]
raw = Tokenizer(
    models.WordLevel(
        {w: i for i, w in enumerate(["<pad>", "<eos>", "<unk>", *words])}, unk_token="<unk>"
    )
)
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tok = PreTrainedTokenizerFast(
    tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
)
g = torch.Generator().manual_seed(0)
text = [
    " ".join(
        words[i]
        for i in torch.randint(0, 60, (int(torch.randint(3, 30, (1,), generator=g)),), generator=g)
    )
    for _ in range(120)
]
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=63,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
    )
)
T = branchtrack.make_branching(SFTTrainer)
T(
    model=model,
    processing_class=tok,
    train_dataset=Dataset.from_dict({"text": text}),
    args=SFTConfig(
        output_dir="out",
        run_name="sft",
        num_train_epochs=2,
        learning_rate=1e-3,
        max_length=32,
        packing=True,
        packing_strategy="wrapped",
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        logging_steps=1,
        save_steps=5,
        gradient_checkpointing=False,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

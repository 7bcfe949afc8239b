import copy

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from trl import DPOConfig, DPOTrainer

import branchtrack

set_seed(5)
words = [f"w{i}" for i in range(40)]
raw = Tokenizer(
    models.WordLevel(
        {w: i for i, w in enumerate(["<pad>", "<eos>", "<unk>", *words])}, unk_token="<unk>"
    )
)
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tok = PreTrainedTokenizerFast(
    tokenizer_object=raw,
    pad_token="<pad>",
    eos_token="<eos>",
    unk_token="<unk>",
    padding_side="left",
)
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=43,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
    )
)

rows = [
    {"prompt": f"w{i}", "chosen": f" w{i % 7} w{i % 5} w3", "rejected": f" w{i % 11} w{i % 3}"}
    for i in range(36)
]
ref = copy.deepcopy(model)
ref.warnings_issued = {}
T = branchtrack.make_branching(DPOTrainer)
T(
    model=model,
    ref_model=ref,
    processing_class=tok,
    train_dataset=Dataset.from_list(rows),
    args=DPOConfig(
        output_dir="out",
        run_name="dpo",
        max_steps=14,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        beta=0.2,
        sync_ref_model=True,
        ref_model_sync_steps=3,
        ref_model_mixup_alpha=0.6,
        logging_steps=1,
        save_steps=5,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
).train()

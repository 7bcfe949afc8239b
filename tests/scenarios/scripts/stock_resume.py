import ast
import sys

from read_only_export import make
from transformers import AutoModelForSequenceClassification, Trainer

m = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
print("from_pretrained ok", m.num_parameters())
want = [ast.literal_eval(line)["loss"] for line in open("log") if line.startswith("{'loss'")]
t = make(Trainer, "out2", None)
try:
    t.train(resume_from_checkpoint=sys.argv[1])
    got = [f"{h['loss']:.4g}" for h in t.state.log_history if "loss" in h]
    print("stock Trainer resumes at", t.state.log_history[0]["step"], "points", len(got))
    print(want[8:12], got[-12:][:4], "PASS" if got[-12:] == want[8:] else "DIFFERS")
except Exception as e:
    print("stock resume:", type(e).__name__, str(e)[:300])

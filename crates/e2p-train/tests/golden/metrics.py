"""Reference output for the text metrics: run with the pinned packages, writes metrics.json beside this file.

    pip install sacrebleu==2.5.1 rouge-score==0.1.2 rouge==1.0.1 && pip install --no-deps parlai==1.7.2
    python metrics.py

ParlAI's metrics module is loaded alone, with the modules that it imports for other purposes left empty.
"""
import importlib.util
import json
import pathlib
import random
import site
import sys
import types


class Empty(types.ModuleType):
    def __getattr__(self, name):
        return type(name, (), {})


for name in ["torch", "parlai", "parlai.core", "parlai.core.message", "parlai.utils", "parlai.utils.misc", "parlai.utils.typing", "parlai.core.opt", "parlai.utils.logging"]:
    sys.modules[name] = Empty(name)
path = next(pathlib.Path(d) / "parlai/core/metrics.py" for d in site.getsitepackages() if (pathlib.Path(d) / "parlai").is_dir())
spec = importlib.util.spec_from_file_location("parlai_metrics", path)
parlai = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parlai)

import sacrebleu
from rouge import Rouge
from rouge_score import rouge_scorer

PAIRS = [
    ("I like the dog .", "i like a dog"),
    ("Hello there!", "Goodbye."),
    ("", "something"),
    ("the a an", "the"),
    ("What's up? I've 3,500.50 dollars - really", "I have 3,500.50 dollars, really!"),
    ("A & B &amp; C <b>bold</b>", "A & B & C bold"),
    ("one. two. three.", "three. two. one."),
    ("one two three one two", "one two one two three four"),
    ("well-known 10-20 U.S. case", "well known 10 - 20 U.S. case"),
    ("Straße café naïve", "strasse cafe naïve café"),
    ("New phone reviews: is it worth it?", "Is the new phone worth it? Reviews are in"),
    ("x", "x"),
    ("  spaced   out  . . text ", "spaced out text"),
    ("snake_case and e-mail@site.org", "snake case and email site.org"),
]
rng = random.Random(0)
WORDS = "i you like love my the a dog cat music food really very and do not have two kids , . ! what is your job".split()
for _ in range(60):
    PAIRS.append(tuple(" ".join(rng.choices(WORDS, k=rng.randint(1, 14))) for _ in range(2)))

google = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
pens = Rouge()
cases = []
for answer, reference in PAIRS:
    scores = google.score(reference, answer)
    case = {
        "answer": answer,
        "reference": reference,
        "f1": float(parlai.F1Metric.compute(answer, [reference]).value()),
        "google": [scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")],
        "bleu": sacrebleu.corpus_bleu([answer], [[reference]]).score,
    }
    try:
        found = pens.get_scores(answer.lower(), reference.lower())[0]
        case["pens"] = [found[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]
    except ValueError:
        case["pens"] = None  # the package refuses an empty answer
    cases.append(case)
bleu = sacrebleu.corpus_bleu([a for a, _ in PAIRS], [[r for _, r in PAIRS]])
out = {"cases": cases, "corpus_bleu": bleu.score}
pathlib.Path(__file__).with_name("metrics.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")

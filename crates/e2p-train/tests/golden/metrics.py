"""Reference output for all metrics: run with the pinned packages, writes metrics.json beside this file.

    pip install sacrebleu==2.6.0 rouge-score==0.1.2 rouge==1.0.1 scikit-learn==1.9.1 && pip install --no-deps parlai==1.7.2
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

import numpy as np
import sacrebleu
from rouge import Rouge
from rouge_score import rouge_scorer
from sklearn import metrics as sklearn

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
package = Rouge()
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
        found = package.get_scores(answer.lower(), reference.lower())[0]
        case["package"] = [found[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]
    except ValueError:
        case["package"] = None  # the package refuses an empty answer
    cases.append(case)
bleu = sacrebleu.BLEU()
corpus_bleu = bleu.corpus_score([a for a, _ in PAIRS], [[r for _, r in PAIRS]]).score


def distinct(n):
    total = parlai.InterDistinctMetric.compute(PAIRS[0][0], n)
    for answer, _ in PAIRS[1:]:
        total += parlai.InterDistinctMetric.compute(answer, n)
    return total.value()


# Labels; label 4 is neither true nor predicted anywhere, label 3 is never predicted.
truth = [rng.randrange(4) for _ in range(200)]
predicted = [rng.randrange(3) for _ in range(200)]
labels = {
    "n_labels": 5,
    "truth": truth,
    "predicted": predicted,
    "accuracy": sklearn.accuracy_score(truth, predicted),
    "macro_f1": sklearn.f1_score(truth, predicted, labels=list(range(5)), average="macro", zero_division=0),
}


def lamp_number(answer, gold):
    """create_metric_mae_rmse of LaMP (github.com/LaMP-Benchmark/LaMP, metrics/classification_metrics.py)."""
    try:
        return float(answer)
    except ValueError:
        gold = float(gold)
        return 1.0 if abs(1 - gold) > abs(5 - gold) else 5.0


stars = [str(rng.randint(1, 5)) for _ in range(60)] + ["3", "3"]
answers = [rng.choice(["1", "2", "3", "4", " 5 ", "4.5", "7", "-1", "1e0", "", "five", "3 stars", "5.", ".5", "+2"]) for _ in range(60)] + ["three", "3"]
numbers = [lamp_number(a, g) for a, g in zip(answers, stars)]
golds = [float(g) for g in stars]
ratings = {
    "answers": answers,
    "truth": stars,
    "numbers": numbers,
    "mae": sklearn.mean_absolute_error(golds, numbers),
    "rmse": sklearn.root_mean_squared_error(golds, numbers),
}

# One right item among distinct scores.
rankings = []
for n, k in [(20, 5), (20, 10), (100, 50), (8, 5)]:
    scores = np.random.default_rng(n + k).permutation(n).astype(float)
    for gold in range(n):
        relevance = np.zeros(n)
        relevance[gold] = 1
        rankings.append({
            "rank": int((scores > scores[gold]).sum()) + 1,
            "k": k,
            "ndcg": float(sklearn.ndcg_score([relevance], [scores], k=k)),
            "hit": float(sklearn.top_k_accuracy_score([gold], [scores], k=k, labels=list(range(n)))),
            "reciprocal": float(sklearn.label_ranking_average_precision_score([relevance], [scores])),
        })

out = {
    "cases": cases,
    "corpus_bleu": corpus_bleu,
    "bleu_signature": bleu.get_signature().format(),
    "distinct": [distinct(1), distinct(2)],
    "labels": labels,
    "ratings": ratings,
    "rankings": rankings,
}
pathlib.Path(__file__).with_name("metrics.json").write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")

#!/usr/bin/env python3
"""Times e2p-data against Python doing the same work, both in this one run, and prints the ratios.

    cargo build --release -p e2p-data --example timing
    python3 benches/data/compare.py --work DIR [--lines N] [--events N] [--personachat FILE] [--als-data DATA]

Preparation: the csv and json modules, hashlib for the checksums that `dataset.json` holds; what both write is compared before a time counts.
ALS: the package `implicit` with its default of three conjugate gradient steps, on the same pairs, confidences, dimension, iterations and threads;
`fit` alone against `factorize` alone. Every time is the best of `--repeat` runs, the two sides taking turns.
"""
import argparse
import csv
import hashlib
import json
import math
import os
import pathlib
import platform
import random
import subprocess
import time

# As implicit itself asks: its own threads are the parallel part.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def make_jsonl(path, lines):
    """Questions with candidates of a tenth as many users, each with a profile on the user's first line."""
    rng, words = random.Random(1), "tea train film river music bread night garden letter window".split()
    with open(path, "w", encoding="utf-8") as file:
        for number in range(lines):
            user = number % max(1, lines // 10)
            line = {"user": f"user-{user}", "prompt": f"Question {number}: what about the {rng.choice(words)} and the {rng.choice(words)}?",
                    "candidates": rng.sample(words, 4), "split": ("train", "train", "valid", "test")[user % 4]}
            line["target"] = rng.choice(line["candidates"])
            if number == user:
                line["profile"] = [f"Likes {word}." for word in rng.sample(words, 3)]
            file.write(json.dumps(line) + "\n")


def make_events(path, events):
    """Plays of users with a favourite genre, over a catalogue in which few items are popular, with times that never repeat."""
    rng = random.Random(2)
    users, items = max(10, events // 50), max(100, events // 125)
    with open(path, "w", encoding="utf-8") as file:
        file.write("user,item,weight,time\n")
        for number in range(events):
            user = rng.randrange(users)
            item = int(items * rng.random() ** 2)
            if rng.random() < 0.7:
                item = item // 20 * 20 + user % 20
            file.write(f"u{user},i{item},{rng.randint(1, 500)},{1_600_000_000 + number}\n")


def write_data(out, splits, users, items, source):
    """The data directory without the parts of `dataset.json` that no code reads."""
    out.mkdir(parents=True, exist_ok=True)
    for split, lines in splits.items():
        with open(out / f"{split}.jsonl", "w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    for name, lines in (("users", users), ("items", items)):
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (out / "dataset.json").write_text(json.dumps({"inputs": [{"sha256": digest}]}))


def python_jsonl(source, out):
    splits, users, seen, known = {"train": [], "valid": [], "test": []}, [], set(), set()
    with open(source, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            user, prompt, target, candidates = line["user"], line["prompt"], line["target"], line.get("candidates", [])
            if not user or not target or (candidates and target not in candidates):
                raise ValueError(text)
            if user not in known:
                known.add(user)
                users.append({"user": user, "profile": line.get("profile", []), "history": []})
            key = (line["split"], user, prompt, target)
            if key not in seen:
                seen.add(key)
                splits[line["split"]].append({"user": user, "prompt": prompt, "target": target, "candidates": candidates})
    write_data(out, splits, users, [], source)


def python_personachat(source, out):
    """ParlAI text as it stands (no truecasing on either side): five utterances of history, candidates, users by persona."""
    splits, users, known, seen = {"train": [], "valid": [], "test": []}, [], set(), set()
    persona, spoken = [], []
    with open(source, encoding="utf-8") as file:
        for text in file:
            number, rest = text.rstrip("\n").split(" ", 1)
            if number == "1":
                persona, spoken = [], []
            if rest.startswith("your persona:"):
                persona.append(rest[len("your persona:"):].strip())
                continue
            if rest.startswith("partner's persona:"):
                continue
            fields = rest.split("\t")
            candidates = [text.strip() for text in fields[3].split("|")] if len(fields) > 3 else []
            words = sorted("".join(c if c.isalnum() else " " for c in " ".join(persona).lower()).split())
            user = "persona-" + hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]
            if fields[0].strip() and fields[0].strip() != "__SILENCE__":
                spoken.append({"role": "user", "content": fields[0].strip()})
            target = fields[1].strip()
            if spoken:
                if user not in known:
                    known.add(user)
                    users.append({"user": user, "profile": persona, "history": []})
                prompt = spoken[-5:]
                key = (user, target, json.dumps(prompt))
                if key not in seen:
                    seen.add(key)
                    splits["valid"].append({"user": user, "prompt": prompt, "target": target, "candidates": candidates})
            spoken.append({"role": "assistant", "content": target})
    write_data(out, splits, users, [], source)


def python_interactions(source, out):
    """Merge, leave the last two out, ten targets a user."""
    merged = {}
    items = {}
    with open(source, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        at = {name: number for number, name in enumerate(next(rows))}
        user_at, item_at, weight_at, time_at = (at[name] for name in ("user", "item", "weight", "time"))
        for row in rows:
            user, item, weight, when = row[user_at], row[item_at], float(row[weight_at]), int(row[time_at])
            if not user or not item or not math.isfinite(weight) or weight < 0:
                raise ValueError(row)
            items[item] = None
            known = merged.setdefault(user, {}).get(item)
            merged[user][item] = (weight, when) if known is None else (known[0] + weight, max(known[1], when))
    splits, users = {"train": [], "valid": [], "test": []}, []
    example = lambda user, item: {"user": user, "prompt": "Recommend an artist:", "target": item, "item": item}
    for user, chosen in merged.items():
        ordered = sorted(chosen, key=lambda item: chosen[item][1])
        held_out = ordered[-2:] if len(ordered) > 2 else []
        history = ordered[:-2] if held_out else ordered
        users.append({"user": user, "profile": history[::-1][:20], "history": history, "weights": [chosen[item][0] for item in history]})
        splits["train"].extend(example(user, item) for item in history[-10:])
        for split, item in zip(("valid", "test"), held_out):
            splits[split].append(example(user, item))
    write_data(out, splits, users, [{"item": item, "text": item} for item in items], source)


def content(folder, name):
    """Lines in an order of their own: the two sides may write users in another order."""
    with open(folder / f"{name}.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return sorted(lines, key=lambda line: json.dumps(line, sort_keys=True))


def same(ours, theirs):
    for name in ("train", "valid", "test", "users"):
        left, right = content(ours, name), content(theirs, name)
        if left != right:
            different = next((pair for pair in zip(left, right) if pair[0] != pair[1]), (len(left), len(right)))
            raise SystemExit(f"{name}.jsonl differs: {different}")


def timing(arguments):
    line = subprocess.run([*TIMING, *map(str, arguments)], check=True, capture_output=True, text=True).stdout
    return json.loads(line.splitlines()[-1])


def compare_preparation(task, source, python, work, repeat):
    ours, theirs = work / f"{task}-ours", work / f"{task}-python"
    best, slow = None, None
    for _ in range(repeat):
        run = timing(["prepare", task, source, ours])
        best = run if best is None or run["seconds"] < best["seconds"] else best
        start = time.perf_counter()
        python(source, theirs)
        slow = min(slow or math.inf, time.perf_counter() - start)
    same(ours, theirs)
    size = source.stat().st_size / 1e6
    print(f"prepare {task}: {size:.0f} MB, {best['examples']} examples | e2p {best['seconds']:.2f} s ({size / best['seconds']:.0f} MB/s, "
          f"peak {best['peak_mib']} MiB) | Python {slow:.2f} s | {slow / best['seconds']:.1f} times")


def compare_als(data, dim, iterations, repeat):
    import implicit
    import numpy
    import scipy.sparse
    items = {json.loads(line)["item"]: number for number, line in enumerate(open(data / "items.jsonl", encoding="utf-8"))}
    rows, columns, values, numbers = [], [], [], {}
    for line in open(data / "users.jsonl", encoding="utf-8"):
        user = json.loads(line)
        number = numbers.setdefault(user["user"], len(numbers))
        for item, weight in zip(user["history"], user["weights"]):
            rows.append(number)
            columns.append(items[item])
            # implicit takes the confidence itself, ours is 1 + ln(1 + weight).
            values.append(1 + math.log1p(weight))
    matrix = scipy.sparse.csr_matrix((numpy.array(values, dtype=numpy.float32), (rows, columns)), shape=(len(numbers), len(items)))
    best, fast = None, None
    for _ in range(repeat):
        run = timing(["als", data, dim, iterations])
        best = run if best is None or run["seconds"] < best["seconds"] else best
        model = implicit.als.AlternatingLeastSquares(factors=dim, regularization=10.0, alpha=1.0, iterations=iterations, random_state=0,
                                                     calculate_training_loss=False, num_threads=os.cpu_count())
        start = time.perf_counter()
        model.fit(matrix, show_progress=False)
        fast = min(fast or math.inf, time.perf_counter() - start)
    hits = total = 0
    for line in open(data / "test.jsonl", encoding="utf-8"):
        example = json.loads(line)
        number = numbers.get(example["user"])
        if number is None:
            continue
        scores = model.item_factors @ model.user_factors[number]
        seen = matrix.indices[matrix.indptr[number]:matrix.indptr[number + 1]]
        scores[seen] = -numpy.inf
        gold = items[example["item"]]
        total += 1
        hits += int((scores >= scores[gold]).sum() <= 50)
    print(f"als {data.name}: {best['pairs']} pairs, {dim} dimensions, {iterations} iterations | e2p {best['seconds']:.2f} s, recall@50 "
          f"{best['recall_at_50']:.3f} (popularity {best['popularity']:.3f}) | implicit {implicit.__version__} {fast:.2f} s, recall@50 "
          f"{hits / max(total, 1):.3f} | {fast / best['seconds']:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for made-up inputs and outputs")
    parser.add_argument("--lines", type=int, default=300_000, help="lines of the made-up JSON Lines; 0 skips it")
    parser.add_argument("--events", type=int, default=1_000_000, help="rows of the made-up events; 0 skips them")
    parser.add_argument("--personachat", type=pathlib.Path, help="a real valid_*.txt")
    parser.add_argument("--als-data", type=pathlib.Path, nargs="*", default=[], help="data directories of `prepare interactions`")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--timing", default=str(ROOT / "target/release/examples/timing"), help="the built example")
    args = parser.parse_args()
    global TIMING
    TIMING = [args.timing]
    args.work.mkdir(parents=True, exist_ok=True)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; best of {args.repeat}")
    als_data = list(args.als_data)
    if args.personachat:
        compare_preparation("personachat", args.personachat, python_personachat, args.work, args.repeat)
    if args.lines:
        source = args.work / f"lines-{args.lines}.jsonl"
        source.exists() or make_jsonl(source, args.lines)
        compare_preparation("jsonl", source, python_jsonl, args.work, args.repeat)
    if args.events:
        source = args.work / f"events-{args.events}.csv"
        source.exists() or make_events(source, args.events)
        compare_preparation("interactions", source, python_interactions, args.work, args.repeat)
        als_data.append(args.work / "interactions-ours")
    for data in als_data:
        compare_als(data, args.dim, args.iterations, args.repeat)


if __name__ == "__main__":
    main()

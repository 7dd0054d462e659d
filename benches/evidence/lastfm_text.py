"""Text for `e2p pretrain` from a directory of `e2p prepare interactions`: what a language model of the catalogue would have read.

    python3 benches/evidence/lastfm_text.py DATA LASTFM OUT [--samples N] [--names N] [--seed S]

DATA is the prepared directory, LASTFM that of HetRec 2011 for its tags, OUT a text file whose documents are separated by blank lines. There
are two kinds: an artist behind its three commonest tags, and an artist behind three to twenty others that the same user plays, drawn by plays,
N times for each user. Only `users.jsonl` is read for the second, in which what was held out for validation and test is missing.
"""

import argparse
import collections
import json
import pathlib
import random

PROMPT = "Recommend an artist:"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tags_of_artists(lastfm):
    with open(lastfm / "tags.dat", encoding="latin-1") as file:
        names = dict(line.rstrip("\r\n").split("\t") for line in file)
    counts = collections.defaultdict(collections.Counter)
    with open(lastfm / "user_taggedartists.dat", encoding="utf-8") as file:
        next(file)
        for line in file:
            _, artist, tag, *_ = line.split("\t")
            counts[artist][names[tag]] += 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("lastfm", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--names", type=int, default=1, help="times that each artist stands behind its tags")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)

    names = {item["item"]: item["text"] for item in lines(args.data / "items.jsonl")}
    tags = tags_of_artists(args.lastfm)
    documents = []
    for item, name in names.items():
        lead = ", ".join(tag for tag, _ in tags[item].most_common(3)) + "\n" if tags.get(item) else ""
        documents.extend([f"{lead}{PROMPT}{name}"] * args.names)
    for user in lines(args.data / "users.jsonl"):
        history, weights = user["history"], user["weights"]
        if len(history) < 3:
            continue
        for _ in range(args.samples):
            target = rng.choices(range(len(history)), weights)[0]
            rest = [i for i in range(len(history)) if i != target]
            n = min(len(rest), rng.randint(3, 20))
            # Half of them in any order, half the most played ones in theirs, as profiles are.
            kept = rng.sample(rest, n) if rng.random() < 0.5 else rest[:n]
            others = " ".join(names[history[i]] for i in kept)
            documents.append(f"{others}\n{PROMPT}{names[history[target]]}")
    rng.shuffle(documents)
    args.out.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    print(f"{len(documents)} documents")


if __name__ == "__main__":
    main()

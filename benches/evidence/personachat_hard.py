"""A directory of `e2p prepare personachat` whose validation personas are strangers to its training personas, as those of the test are.

    personachat_hard.py DATA USERS OUT [--personas 126] [--nearest 0.75] [--seed S]

Personas whose vectors (the safetensors file USERS of `e2p embed text`) have a cosine of NEAREST or more are in one group, and so are those they are
linked to; whole groups are drawn for validation until they have PERSONAS. Needs numpy and safetensors.
"""
import argparse, json, pathlib, random, shutil
import numpy as np
from safetensors.numpy import load_file

p = argparse.ArgumentParser()
p.add_argument("data", type=pathlib.Path); p.add_argument("users", type=pathlib.Path); p.add_argument("out", type=pathlib.Path)
p.add_argument("--personas", type=int, default=126); p.add_argument("--nearest", type=float, default=0.75); p.add_argument("--seed", type=int, default=0)
a = p.parse_args()

def vectors_of(split):
    users = sorted({json.loads(line)["user"] for line in open(a.data / f"{split}.jsonl", encoding="utf-8")})
    return users, table[[rows[u] for u in users]]

table = load_file(a.users)["embeddings"].astype(np.float32)
table /= np.linalg.norm(table, axis=1, keepdims=True)
rows = {u: i for i, u in enumerate(a.users.with_suffix(".ids.txt").read_text(encoding="utf-8").splitlines())}
users, vectors = vectors_of("train")
similar = vectors @ vectors.T
parent = list(range(len(users)))
def root(i):
    while parent[i] != i: i = parent[i]
    return i
for i, j in zip(*np.where(similar >= a.nearest)): parent[root(i)] = root(j)
groups = {}
for i in range(len(users)): groups.setdefault(root(i), []).append(i)
groups = sorted(groups.values())
random.Random(a.seed).shuffle(groups)
held_out = []
while len(held_out) < a.personas: held_out += groups.pop()
kept = sorted(i for g in groups for i in g)
strangers = {users[i] for i in held_out}

a.out.mkdir()
for name in ("users.jsonl", "test.jsonl"): shutil.copy(a.data / name, a.out / name)
info = json.load(open(a.data / "dataset.json"))
files = {s: open(a.out / f"{s}.jsonl", "w", encoding="utf-8") for s in ("train", "valid")}
info["counts"].update(train=0, valid=0)
for line in open(a.data / "train.jsonl", encoding="utf-8"):
    split = "valid" if json.loads(line)["user"] in strangers else "train"
    files[split].write(line); info["counts"][split] += 1
json.dump(info, open(a.out / "dataset.json", "w"), indent=2)
nearest = lambda x, others: [round(float(q), 3) for q in np.quantile((x @ others.T).max(1), [.1, .5, .9])]
print(f"{len(kept)} training and {len(held_out)} validation personas, {info['counts']}")
print(f"cosine of the nearest training persona (10, 50 and 90 %): validation {nearest(vectors[held_out], vectors[kept])}, test {nearest(vectors_of('test')[1], vectors)}")

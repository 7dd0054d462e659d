"""A frozen backbone for Last.fm, larger than `e2p pretrain` makes in an hour: a Llama on the documents of `lastfm_text.py`, in PyTorch.

    python3 benches/evidence/lastfm_backbone.py TEXT TOKENIZER OUT [--width 256] [--layers 4] [--lr 2e-3] [--batch-tokens 3072] [--device cuda] [--bf16] [--threads N]

TEXT is what `lastfm_text.py` wrote, TOKENIZER a backbone of `e2p pretrain` on such a text, whose tokenizer is taken over, and OUT a Hugging Face
directory. Every document is a row of its own between two `<|endoftext|>`, read once, in batches of rows of like length.
Needs torch and transformers; the products are in bf16, which takes a GPU or AVX-512 BF16 to be fast.
"""

import argparse
import math
import pathlib
import random
import shutil
import time

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM

END = "<|endoftext|>"
LONGEST, POOL = 160, 6000


def batches(rows, batch_tokens, rng):
    """Batches of rows of like length, each pool of rows shuffled."""
    rng.shuffle(rows)
    for first in range(0, len(rows), POOL):
        pool, batch = [], []
        for row in sorted(rows[first : first + POOL], key=len):
            if batch and (len(batch) + 1) * len(row) > batch_tokens:
                pool.append(batch)
                batch = []
            batch.append(row)
        pool.append(batch)
        rng.shuffle(pool)
        yield from pool


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("text", "tokenizer", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="store the weights in bf16")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = random.Random(0)
    if args.threads:
        torch.set_num_threads(args.threads)

    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    documents = args.text.read_text(encoding="utf-8").split("\n\n")
    rows = [[end, *encoding.ids, end][-LONGEST:] for encoding in tokenizer.encode_batch(documents, add_special_tokens=False)]
    steps = list(batches(rows, args.batch_tokens, rng))
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=args.width, intermediate_size=3 * args.width, num_hidden_layers=args.layers,
        num_attention_heads=args.width // 32, num_key_value_heads=args.width // 64, head_dim=32, max_position_embeddings=192,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=end, eos_token_id=end,
    )).to(args.device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(rows)} documents, {sum(map(len, rows))} tokens, {len(steps)} steps")
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.1, betas=(0.9, 0.95))
    rate = lambda step: min(1, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / len(steps))))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    began, loss_sum = time.time(), 0.0
    for step, batch in enumerate(steps, 1):
        shape = (len(batch), max(map(len, batch)))
        ids, labels = torch.full(shape, end), torch.full(shape, -100)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = labels[row, : len(tokens)] = torch.tensor(tokens)
        with torch.autocast(torch.device(args.device).type, torch.bfloat16):
            loss = model(input_ids=ids.to(args.device), labels=labels.to(args.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        loss_sum += loss.detach()
        if step % 50 == 0 or step == len(steps):
            print(f"step {step} of {len(steps)}, loss {loss_sum / (step % 50 or 50):.3f}, {time.time() - began:.0f} s", flush=True)
            loss_sum = 0.0
    if args.bf16:
        model.to(torch.bfloat16)
    model.save_pretrained(args.out)
    # Every text begins as the documents did.
    tokenizer.post_processor = TemplateProcessing(single=f"{END} $A", special_tokens=[(END, end)])
    tokenizer.save(str(args.out / "tokenizer.json"))
    shutil.copy(args.tokenizer / "tokenizer_config.json", args.out)


if __name__ == "__main__":
    main()

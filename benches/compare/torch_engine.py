"""PyTorch and transformers as an engine of `cargo xtask bench compare`.

    torch_engine.py write DIR               a checkpoint of SmolLM2-135M's shape with random weights in bf16
    torch_engine.py run DTYPE DIR CASE      one case (JSON), DTYPE f32 or bf16; prints one line of JSON

On CUDA where PyTorch has it and the environment variable BURN_DEVICE names another device than the CPU.
Token ids and prefixes follow the integer formulas of `benches/src/bin/e2p_engine.rs`.
"""

import json
import os
import resource
import sys
import time


def token(row, i):
    return 3 + (row * 977 + i * 7919) % 40_000


def write(directory):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=2048,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory, safe_serialization=True)


def run(dtype, directory, case):
    began = time.perf_counter()
    import torch
    from transformers import LlamaForCausalLM

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    # Tensors are made there, and `float` waits for what is computed.
    torch.set_default_device("cuda" if os.environ.get("BURN_DEVICE") and torch.cuda.is_available() else "cpu")
    kind, repeat = case["kind"], case["repeat"]
    ids = lambda rows, n: torch.tensor([[token(r, i) for i in range(n)] for r in range(rows)])

    if kind == "project":
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Linear(256, 576), torch.nn.GELU(), torch.nn.Linear(576, 576)).to(dtype)
        x = (torch.arange(4096 * 256) * 37 % 101).sub(50).div(50).reshape(4096, 256).to(dtype)

        def step():
            with torch.no_grad():
                for _ in range(case["rows"] // 4096):
                    y = layers(x)
                    y = y / (y.square().mean(-1, keepdim=True) + 1e-8).sqrt() * 0.02
            return [float(y.float().square().mean().sqrt())]
    else:
        model = LlamaForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="sdpa").to(torch.get_default_device())
        model.requires_grad_(False)
        embed = model.get_input_embeddings()

    if kind == "train":
        rows, prompt, target, slot = case["rows"], case["prompt"], case["target"], case["slot"]
        tokens = ids(rows, prompt + target)
        start = (torch.arange(rows * 576) * 37 % 101).sub(50).div(1000).reshape(rows, 1, 576).to(dtype)
        labels = torch.cat([tokens[:, :slot], torch.full((rows, 1), -100), tokens[:, slot:]], 1)
        labels[:, : prompt + 1] = -100
        if case.get("recompute"):
            # Only a model that trains does it; Llama has no dropout, so that nothing else differs.
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()

        def step():
            prefix = start.clone().requires_grad_(True)
            embeds = embed(tokens)
            embeds = torch.cat([embeds[:, :slot], prefix, embeds[:, slot:]], 1)
            loss = model(inputs_embeds=embeds, labels=labels, use_cache=False).loss
            loss.backward()
            return [float(loss), float(prefix.grad.float().norm())]

    elif kind == "prefill":
        tokens = ids(1, case["prompt"])

        def step():
            with torch.no_grad():
                logits = model(input_ids=tokens, use_cache=True, logits_to_keep=1).logits
            return [float(logits.float().norm())]

    elif kind == "decode":
        rows, prompt = case["rows"], case["prompt"]
        tokens = ids(rows, prompt + repeat + 2)
        with torch.no_grad():
            past = model(input_ids=tokens[:, :prompt], use_cache=True, logits_to_keep=1).past_key_values
        at = [prompt]

        def step():
            with torch.no_grad():
                logits = model(input_ids=tokens[:, at[0] : at[0] + 1], past_key_values=past, use_cache=True).logits
            at[0] += 1
            return [float(logits.float().norm())]

    elif kind == "cold_start":
        with torch.no_grad():
            logits = model(input_ids=ids(1, case["prompt"]), logits_to_keep=1).logits
        int(logits.argmax())
        checksum = [float(logits.float().norm())]

    seconds = []
    if kind == "cold_start":
        seconds = [time.perf_counter() - began]
    else:
        for i in range(repeat + 2):
            start_time = time.perf_counter()
            checksum = step()
            if i >= 2:
                seconds.append(time.perf_counter() - start_time)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "checksum": checksum, "peak_mib": peak, "version": "torch " + torch.__version__}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))

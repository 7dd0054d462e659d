"""llama.cpp, through its Python package, as an engine of `cargo xtask bench compare`.

    llama_engine.py run WIDTH DIR CASE      one case (JSON), WIDTH f32, bf16 or q8_0; prints one line of JSON
    llama_engine.py write WIDTH DIR         the checkpoint in DIR as a GGUF file of that width beside it; `run` does so where it is missing

Needs llama-cpp-python and, to write, gguf and torch. Token ids follow the integer formula of `torch_engine.py`.
"""

import json
import os
import resource
import subprocess
import sys
import time


def token(row, i):
    return 3 + (row * 977 + i * 7919) % 40_000


def gguf_path(directory, width):
    return os.path.join(directory, f"model-{width}.gguf")


def write(width, directory):
    import gguf
    import torch
    from safetensors.torch import load_file

    config = json.load(open(os.path.join(directory, "config.json")))
    layers, heads, kv_heads = (config[k] for k in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads"))
    path = gguf_path(directory, width)
    writer = gguf.GGUFWriter(path + ".part", "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    parts = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }
    for layer in range(layers):
        for theirs, ours in parts.items():
            names[f"model.layers.{layer}.{theirs}"] = f"blk.{layer}.{ours}"
    kind = {"f32": "F32", "bf16": "BF16", "q8_0": "Q8_0"}[width]
    for name, weight in load_file(os.path.join(directory, "model.safetensors")).items():
        name, weight = name.removesuffix(".weight"), weight.to(torch.float32).numpy()
        for projection, n in (("q_proj", heads), ("k_proj", kv_heads)):
            if name.endswith(projection):  # GGUF's llama turns neighbours, transformers' turns halves
                weight = weight.reshape(n, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        stored = gguf.GGMLQuantizationType[kind if weight.ndim == 2 else "F32"]
        writer.add_tensor(names[name] + ".weight", gguf.quants.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(path + ".part", path)


def run(width, directory, case):
    path = gguf_path(directory, width)
    if not os.path.exists(path):
        subprocess.run([sys.executable, __file__, "write", width, directory], check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    import llama_cpp
    import numpy

    kind, rows, prompt, repeat = case["kind"], case.get("rows", 1), case["prompt"], case["repeat"]
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_seq_max = rows
    params.n_ctx = max(rows * (prompt + repeat + 2), 512)
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = len(os.sched_getaffinity(0))
    context = llama_cpp.llama_init_from_model(model, params)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(max(512, prompt), 0, 1)

    def decode(tokens):
        """Reads (row, position, wants logits) triples in one pass."""
        batch.n_tokens = len(tokens)
        for i, (row, at, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token(row, at), at, 1
            batch.seq_id[i][0], batch.logits[i] = row, wanted
        if llama_cpp.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        squares = 0.0
        for i, (_, _, wanted) in enumerate(tokens):
            if wanted:
                logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), shape=(vocabulary,))
                squares += float(numpy.square(logits, dtype=numpy.float32).sum(dtype=numpy.float64))
        return [squares**0.5]

    prompt_of = lambda row: [(row, at, at == prompt - 1) for at in range(prompt)]
    at = [prompt]

    def step():
        if kind == "decode":
            at[0] += 1
            return decode([(row, at[0] - 1, True) for row in range(rows)])
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        return decode(prompt_of(0))

    if kind == "decode":
        for row in range(rows):
            decode(prompt_of(row))
    seconds = []
    if kind == "cold_start":
        checksum = decode(prompt_of(0))
        seconds = [time.perf_counter() - began]
    else:
        for i in range(repeat + 2):
            start = time.perf_counter()
            checksum = step()
            if i >= 2:
                seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    version = "llama-cpp-python " + llama_cpp.__version__
    print(json.dumps({"seconds": seconds, "checksum": checksum, "peak_mib": peak, "version": version}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3])
    else:
        run(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))

"""Writes a slice of DeepSeek-V3 with random weights as a GGUF file that llama.cpp loads.

    python3 slice_gguf.py v3-slice-q4_0.gguf --weights q4_0

The slice is that of ./panamoe bench --shape v3: published widths, --layers of them with the first dense, and --experts of
each other. Embedding and head are Q8_0, norms and routers F32, all else --weights. Matrices repeat a megabyte of random
blocks, routers and norms do not: tokens spread over the experts. There is no vocabulary, so nothing but a benchmark runs it.
"""

import argparse
import array
import math
import os
import random
import struct

HIDDEN, HEADS, Q_LORA, KV_LORA, NOPE, ROPE, V_HEAD = 7168, 128, 1536, 512, 128, 64, 128
DENSE_INTER, MOE_INTER, TOP_K, GROUPS, TOP_GROUPS = 18432, 2048, 8, 8, 4

# ggml's id, weights and bytes of a block, and the standard deviation of its codes.
TYPES = {"f32": (0, 1, 4, 1), "q4_0": (2, 32, 18, 4.32), "q8_0": (8, 32, 34, 73.6)}
ALIGNMENT = 32
SAMPLE_BLOCKS = 1 << 15


def tensors(layers, experts, vocab, weights):
    """Names, extents (rows last) and types, in the order of the file."""
    yield "token_embd.weight", (HIDDEN, vocab), "q8_0"
    yield "output_norm.weight", (HIDDEN,), "f32"
    yield "output.weight", (HIDDEN, vocab), "q8_0"
    for layer in range(layers):
        matrices = {
            "attn_q_a": (HIDDEN, Q_LORA),
            "attn_q_b": (Q_LORA, HEADS * (NOPE + ROPE)),
            "attn_kv_a_mqa": (HIDDEN, KV_LORA + ROPE),
            "attn_k_b": (NOPE, KV_LORA, HEADS),
            "attn_v_b": (KV_LORA, V_HEAD, HEADS),
            "attn_output": (HEADS * V_HEAD, HIDDEN),
        }
        floats = {"attn_norm.weight": (HIDDEN,), "attn_q_a_norm.weight": (Q_LORA,), "attn_kv_a_norm.weight": (KV_LORA,),
                  "ffn_norm.weight": (HIDDEN,)}
        if layer == 0:
            matrices |= {"ffn_gate": (HIDDEN, DENSE_INTER), "ffn_up": (HIDDEN, DENSE_INTER),
                         "ffn_down": (DENSE_INTER, HIDDEN)}
        else:
            floats |= {"ffn_gate_inp.weight": (HIDDEN, experts), "exp_probs_b.bias": (experts,)}
            for kind, more in (("exps", (experts,)), ("shexp", ())):
                matrices |= {f"ffn_gate_{kind}": (HIDDEN, MOE_INTER, *more), f"ffn_up_{kind}": (HIDDEN, MOE_INTER, *more),
                             f"ffn_down_{kind}": (MOE_INTER, HIDDEN, *more)}
        for name, extents in floats.items():
            yield f"blk.{layer}.{name}", extents, "f32"
        for name, extents in matrices.items():
            yield f"blk.{layer}.{name}.weight", extents, weights


def size(extents, kind):
    _, block, block_bytes, _ = TYPES[kind]
    return math.prod(extents) // block * block_bytes


def padding(n):
    return -n % ALIGNMENT


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def metadata(layers, experts, vocab, weights):
    """What llama.cpp reads of config.json, each entry packed."""
    values = {
        "general.architecture": "deepseek2",
        "general.name": f"DeepSeek-V3 slice, random, {weights}",
        "general.file_type": {"q4_0": 2, "q8_0": 7}[weights],
        "general.quantization_version": 2,
        "general.alignment": ALIGNMENT,
        "tokenizer.ggml.model": "none",
    }
    of_model = {
        "block_count": layers, "context_length": 32768, "embedding_length": HIDDEN, "vocab_size": vocab,
        "feed_forward_length": DENSE_INTER, "leading_dense_block_count": 1, "expert_feed_forward_length": MOE_INTER,
        "expert_count": experts, "expert_used_count": TOP_K, "expert_shared_count": 1, "expert_group_count": GROUPS,
        "expert_group_used_count": TOP_GROUPS, "expert_gating_func": 2, "expert_weights_scale": 2.5,
        "expert_weights_norm": True, "attention.head_count": HEADS, "attention.head_count_kv": 1,
        "attention.q_lora_rank": Q_LORA, "attention.kv_lora_rank": KV_LORA, "attention.key_length": KV_LORA + ROPE,
        "attention.value_length": KV_LORA, "attention.key_length_mla": NOPE + ROPE, "attention.value_length_mla": V_HEAD,
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.dimension_count": ROPE, "rope.freq_base": 10000.0,
        "rope.scaling.type": "yarn", "rope.scaling.factor": 40.0, "rope.scaling.original_context_length": 4096,
        "rope.scaling.yarn_log_multiplier": 0.1,
    }
    values |= {f"deepseek2.{key}": value for key, value in of_model.items()}
    for key, value in values.items():
        if isinstance(value, str):
            yield text(key) + struct.pack("<I", 8) + text(value)
        elif isinstance(value, bool):  # which is an int, too
            yield text(key) + struct.pack("<I?", 7, value)
        elif isinstance(value, float):
            yield text(key) + struct.pack("<If", 6, value)
        else:
            yield text(key) + struct.pack("<II", 4, value)


def floats(name, extents, rng):
    deviation, mean = (0.05, 1) if "norm" in name else (0.02, 0) if "bias" in name else (extents[0] ** -0.5, 0)
    return array.array("f", (rng.gauss(mean, deviation) for _ in range(math.prod(extents)))).tobytes()


def blocks(columns, kind, rng):
    """Random blocks of weights with mean 0 and variance 1 / columns."""
    _, block, block_bytes, deviation = TYPES[kind]
    scale = struct.pack("<e", columns**-0.5 / deviation)
    if kind == "q4_0":  # code + 8: none is -8, for the mean
        usual = bytes((i & 15 or 8) | (i >> 4 or 8) << 4 for i in range(256))
    else:
        usual = bytes(0 if i == 128 else i for i in range(256))
    codes = rng.randbytes(SAMPLE_BLOCKS * (block_bytes - 2)).translate(usual)
    step = block_bytes - 2
    return b"".join(scale + codes[at : at + step] for at in range(0, len(codes), step))


def write(path, layers, experts, vocab, weights, seed=1):
    """Writes the file; returns its weights."""
    rng = random.Random(seed)
    everything = list(tensors(layers, experts, vocab, weights))
    entries = list(metadata(layers, experts, vocab, weights))
    with open(path, "xb") as file:
        try:
            fill(file, everything, entries, rng)
        except BaseException:  # an interrupt, too: nothing half written stays
            os.unlink(path)
            raise
    return sum(math.prod(extents) for _, extents, _ in everything)


def fill(file, everything, entries, rng):
    """Writes header, metadata, the list of tensors and their data."""
    samples = {}
    file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(everything), len(entries)) + b"".join(entries))
    at = 0
    for name, extents, kind in everything:
        file.write(text(name) + struct.pack(f"<I{len(extents)}QIQ", len(extents), *extents, TYPES[kind][0], at))
        at += size(extents, kind) + padding(size(extents, kind))
    file.write(bytes(padding(file.tell())))
    for name, extents, kind in everything:
        left = size(extents, kind)
        file_padding = bytes(padding(left))
        if kind == "f32":
            file.write(floats(name, extents, rng))
        else:
            key = extents[0], kind
            if key not in samples:
                samples[key] = blocks(*key, rng)
            while left > 0:
                left -= file.write(memoryview(samples[key])[:left])
        file.write(file_padding)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a new file")
    parser.add_argument("--weights", choices=("q4_0", "q8_0"), default="q4_0")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--experts", type=int, default=64, help=f"a multiple of {GROUPS}, as routing is by group")
    parser.add_argument("--vocab", type=int, default=32768)
    options = parser.parse_args()
    if options.layers < 1 or options.vocab < 1 or options.experts < TOP_K or options.experts % GROUPS != 0:
        parser.error(f"layers and vocab from 1 on, experts from {TOP_K} on and a multiple of {GROUPS}")
    try:
        count = write(options.path, options.layers, options.experts, options.vocab, options.weights)
    except OSError as e:
        parser.exit(1, f"slice_gguf.py: {e}\n")
    print(f"{options.path}: {count / 1e9:.3f} G weights")


if __name__ == "__main__":
    main()

"""Builds a transformers LlamaForCausalLM from a GGUF file, and taps it.

The weights are the file's dequantized blocks, bit for bit as the `gguf` package gives them, so what
the model computes is a reference for any other reader of the same file. Used by the scripts that
record test fixtures and by bench/analyze_pytorch.py; nothing that users run needs it.

Check it against transformers' own GGUF loader, which also needs the `accelerate` package, and see a
few words that the model writes:

    python tools/pytorch/llama_gguf.py [MODEL.gguf]

Write the dequantized model as a folder with safetensors, as transformers reads them:

    python tools/pytorch/llama_gguf.py --save FOLDER [--dtype bfloat16] [MODEL.gguf]

Versions it was written with: Python 3.11, torch 2.13.0 (CPU), transformers 5.23.0, gguf 0.19.0,
tokenizers 0.23.3, numpy 2.4.6.
"""

import argparse
import os

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

MODEL_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"

# Our names of a layer's linear maps, with transformers' names and GGUF's.
PROJECTIONS = {
    "query": ("self_attn.q_proj", "attn_q"),
    "key": ("self_attn.k_proj", "attn_k"),
    "value": ("self_attn.v_proj", "attn_v"),
    "output": ("self_attn.o_proj", "attn_output"),
    "gate": ("mlp.gate_proj", "ffn_gate"),
    "up": ("mlp.up_proj", "ffn_up"),
    "down": ("mlp.down_proj", "ffn_down"),
}

NORMS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def default_model_path():
    """The model file: OUTLIERSCOPE_MODEL, or where the library keeps its own copy."""
    given = os.environ.get("OUTLIERSCOPE_MODEL")
    if given:
        return given
    return os.path.expanduser(os.path.join("~/.cache/outlierscope/models", MODEL_NAME))


def interleaved_to_half_split(weight, heads):
    """Reorders the rows of a query or key matrix.

    llama.cpp rotates the neighbours (2i, 2i+1) of a head, transformers rotates (i, i + d/2), and
    the rows in the file are ordered for the former.
    """
    rows, columns = weight.shape
    half = rows // heads // 2
    return weight.reshape(heads, half, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def read_config(reader):
    """The LlamaConfig that the file's metadata describe."""

    def field(name, default=None):
        entry = reader.get_field(name)
        return default if entry is None else entry.contents()

    architecture = field("general.architecture")
    if architecture != "llama":
        raise ValueError(f"architecture {architecture!r} is not llama")
    heads = field("llama.attention.head_count")
    hidden = field("llama.embedding_length")
    shapes = {tensor.name: tensor.shape for tensor in reader.tensors}
    return LlamaConfig(
        vocab_size=int(shapes["token_embd.weight"][1]),
        hidden_size=hidden,
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=field("llama.attention.head_count_kv", heads),
        head_dim=field("llama.attention.key_length", hidden // heads),
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": field("llama.rope.freq_base", 10000.0),
        },
        tie_word_embeddings="output.weight" not in shapes,
        bos_token_id=field("tokenizer.ggml.bos_token_id"),
        eos_token_id=field("tokenizer.ggml.eos_token_id"),
        pad_token_id=None,
    )


def load(path, dtype=torch.float32, attention="eager"):
    """Reads `path` into a LlamaForCausalLM in evaluation mode."""
    reader = gguf.GGUFReader(path)
    config = read_config(reader)
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def tensor(name, heads=None):
        stored = tensors[name]
        values = gguf.quants.dequantize(stored.data, stored.tensor_type)
        if heads is not None:
            values = interleaved_to_half_split(values, heads)
        values = np.ascontiguousarray(values, dtype=np.float32)
        if not values.flags.writeable:  # a view of the mapped file
            values = values.copy()
        return torch.from_numpy(values).to(dtype)

    state = {
        "model.embed_tokens.weight": tensor("token_embd.weight"),
        "model.norm.weight": tensor("output_norm.weight"),
    }
    state["lm_head.weight"] = (
        state["model.embed_tokens.weight"]
        if config.tie_word_embeddings
        else tensor("output.weight")
    )
    rotated = {"query": config.num_attention_heads, "key": config.num_key_value_heads}
    for layer in range(config.num_hidden_layers):
        for projection, (name, stored_name) in PROJECTIONS.items():
            state[f"model.layers.{layer}.{name}.weight"] = tensor(
                f"blk.{layer}.{stored_name}.weight", rotated.get(projection)
            )
        for name, stored_name in NORMS.items():
            state[f"model.layers.{layer}.{name}.weight"] = tensor(
                f"blk.{layer}.{stored_name}.weight"
            )

    # On the meta device no time goes into initial weights that are replaced at once.
    with torch.device("meta"):
        model = LlamaForCausalLM._from_config(config, dtype=dtype, attn_implementation=attention)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    return model.eval()


def load_tokenizer(path):
    """The byte-level BPE tokenizer stored in `path`; `encode(text).ids` adds no special token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    reader = gguf.GGUFReader(path)
    kind = reader.get_field("tokenizer.ggml.pre").contents()
    if kind != "smollm":
        raise ValueError(f"pre-tokenizer {kind!r} is not smollm")
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    types = reader.get_field("tokenizer.ggml.token_type").contents()
    merges = [
        tuple(merge.split(" ")) for merge in reader.get_field("tokenizer.ggml.merges").contents()
    ]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [text for text, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in control])
    return tokenizer


def add_taps(model, hidden=None, down_input=None, attention=None):
    """Calls each given function with (layer index, tensor) as the model runs; returns the hooks.

    `hidden` gets a layer's output before any final norm, [B, T, H]; `down_input` the input of the
    down projection, [B, T, I]; `attention` the probabilities [B, n, T, T], which only an eager
    attention computes.
    """
    hooks = []

    def watch(module, layer, function, select, before=False):
        if before:
            hook = module.register_forward_pre_hook(lambda _, args: function(layer, args[0]))
        else:
            hook = module.register_forward_hook(
                lambda _, args, output: function(layer, select(output))
            )
        hooks.append(hook)

    for index, layer in enumerate(model.model.layers):
        if hidden is not None:
            watch(layer, index, hidden, lambda output: output)
        if down_input is not None:
            watch(layer.mlp.down_proj, index, down_input, None, before=True)
        if attention is not None:
            watch(layer.self_attn, index, attention, lambda output: output[1])
    return hooks


def check(path):
    """Compares every tensor with transformers' own loader, and lets the model write."""
    from transformers import AutoModelForCausalLM

    ours = load(path)
    theirs = AutoModelForCausalLM.from_pretrained(
        os.path.dirname(os.path.abspath(path)),
        gguf_file=os.path.basename(path),
        dtype=torch.float32,
    )
    expected = theirs.state_dict()
    different = [
        name for name, value in ours.state_dict().items() if not torch.equal(value, expected[name])
    ]
    print(f"{len(expected)} tensors, {len(different)} unlike transformers' own loader", different)

    tokenizer = load_tokenizer(path)
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    with torch.inference_mode():
        written = ours.generate(ids, max_new_tokens=20, do_sample=False)
    print(tokenizer.decode(written[0, ids.shape[1] :].tolist()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", nargs="?", default=default_model_path())
    parser.add_argument("--save", metavar="FOLDER", help="write safetensors instead of checking")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    if options.save:
        load(options.model, getattr(torch, options.dtype)).save_pretrained(options.save)
    else:
        check(options.model)


if __name__ == "__main__":
    main()

"""The outlier analysis in PyTorch and transformers, to time ours against.

It finds what `outlierscope analyze` finds: per layer and sequence the statistics, extremes and
outliers of the hidden states and of the down projections' inputs, cumulative attention per head, and
the ratios of every weight matrix. It writes them as JSON and as a plain page of tables (no pictures),
and it is written to be fast: inference mode, no cache, no language-model head, hooks that reduce each
tensor at once and keep none, the quickest exact way that we found to a median and to the largest
values, and attention in blocks of queries that skip the masked half and never hold a [T, T] matrix
(`--attention eager` uses transformers' own instead).

    python bench/analyze_pytorch.py --tokens TOKENS.json --dtype float32 --threads 2 --out analysis.json

TOKENS.json is an array of arrays of token ids. `--model` is a GGUF file (without it, as in
tools/pytorch/llama_gguf.py) or a folder with safetensors, which transformers loads quicker. Prints
one JSON line:

    total              seconds from the start of the process (or $BENCH_START, seconds since 1970) to
                       the written results
    imports, load      seconds of it until the libraries were there, and for reading the model
    weights, analyze   seconds of it for the weight statistics, and for the forward passes with hooks
    forward            seconds of the forward passes alone (sdpa, no hooks, no head), run afterwards;
                       the better of two
    peakMiB            peak resident memory up to the written results

Written with Python 3.11, torch 2.13.0 (CPU), transformers 5.23.0, gguf 0.19.0, numpy 2.4.6.
"""

import argparse
import json
import os
import resource
import sys
import time


def process_start():
    """When this process began, in seconds since 1970, from Linux's process table."""
    if "BENCH_START" in os.environ:
        return float(os.environ["BENCH_START"])
    with open("/proc/self/stat", encoding="ascii") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


START = process_start()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AttentionInterface, LlamaForCausalLM  # noqa: E402
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/pytorch"))
import llama_gguf  # noqa: E402

TAU = 1000
ATTENTION_SHARE = 0.1
TOP = 5
MOST_OUTLIERS = 256
FIRST_TOKENS = 64


def lower_median(values):
    """The lower median; numpy's partition is several times faster than torch.median here."""
    flat = values.numpy().ravel()
    middle = (flat.size - 1) // 2
    return float(np.partition(flat, middle)[middle])


def largest(values, count):
    """The largest entries of a matrix, as (row, column) pairs: they stand in the rows that have the
    largest maxima, so only those need sorting."""
    rows = values.amax(1).topk(min(count, values.shape[0])).indices
    top = values[rows].flatten().topk(min(count, values.shape[1])).indices
    width = values.shape[1]
    return [(int(rows[i // width]), int(i % width)) for i in top.tolist()]


def above(values, limit):
    """The (row, column) pairs of the entries above a limit, descending, and how many there are."""
    if float(values.max()) <= limit:
        return 0, []
    places = (values > limit).nonzero()
    order = values[places[:, 0], places[:, 1]].argsort(descending=True)[:MOST_OUTLIERS]
    return len(places), places[order].tolist()


def activation_statistics(x):
    """Statistics of one activation tensor [T, C]."""
    size = x.float().abs()
    mean = float(size.mean())
    by_feature = size.amax(0)  # max(0), which gives indices too, is ten times slower
    features = by_feature.topk(TOP).indices
    tokens = size[:, features].argmax(0).tolist()
    count, outliers = above(size, TAU * mean)

    def entry(token, feature):
        return {"value": float(x[token, feature]), "token": token, "feature": feature}

    return {
        "mean": mean,
        "median": lower_median(size),
        "top": [entry(*place) for place in largest(size, TOP)],
        "outlierCount": count,
        "outliers": [entry(*place) for place in outliers],
        "tokenMaxima": size[:FIRST_TOKENS].amax(1).tolist(),
        "topFeatures": [
            {"feature": i, "value": float(by_feature[i]), "token": token}
            for i, token in zip(features.tolist(), tokens)
        ],
    }


def head_attention(sums):
    """Statistics of one head's cumulative attention [T]."""
    total, mean = float(sums.sum()), float(sums.mean())

    def entry(token):
        return {"token": token, "value": float(sums[token]), "share": float(sums[token]) / total}

    order = sums.argsort(descending=True).tolist()
    outliers = int((sums >= ATTENTION_SHARE * total).sum())
    return {
        "top": [entry(token) for token in order[:TOP]],
        "median": float(sums[order[len(order) // 2]]),
        "outliers": [entry(token) for token in order[:outliers]],
        "tauOutlierCount": int((sums > TAU * mean).sum()),
    }


def attention_statistics(sums):
    """Statistics of the cumulative attention of one layer, [n, T]."""
    mean = sums.mean(0)
    return {
        "heads": [{"head": i, **head_attention(head)} for i, head in enumerate(sums)],
        "mean": head_attention(mean),
        "tokenShares": (mean / mean.sum())[:FIRST_TOKENS].tolist(),
    }


def weight_statistics(weight):
    """Statistics of one weight matrix [out, in]."""
    size = weight.float().abs()
    ratios = size / size.mean(1, keepdim=True)
    rows = ratios.amax(1)
    columns = size.amax(0) / size.mean(0)
    count, outliers = above(ratios, TAU)

    def entry(row, column):
        return {
            "value": float(weight[row, column]),
            "row": row,
            "column": column,
            "ratio": float(ratios[row, column]),
        }

    def lines(values):
        top = values.topk(TOP)
        return [
            {"index": i, "ratio": ratio}
            for i, ratio in zip(top.indices.tolist(), top.values.tolist())
        ]

    return {
        "shape": list(weight.shape),
        "mean": float(size.mean()),
        "top": [entry(*place) for place in largest(ratios, TOP)],
        "outlierCount": count,
        "outliers": [entry(*place) for place in outliers],
        "topRows": lines(rows),
        "topColumns": lines(columns),
        "medianColumnRatio": lower_median(columns),
    }


class BlockedAttention:
    """Causal attention by blocks of queries, which also leaves each key's column sums [B, n, T]."""

    def __init__(self, query_block):
        self.query_block = query_block
        self.sums = None
        AttentionInterface.register("blocked", self)
        ALL_MASK_ATTENTION_FUNCTIONS.register("blocked", lambda *_, **__: None)

    def __call__(self, module, query, key, value, mask, scaling, **_):
        batch, heads, length, width = query.shape
        groups = module.num_key_value_groups
        # A group's query heads share their keys: they become further rows of one product.
        query = query.view(batch, heads // groups, groups, length, width)
        output = query.new_empty(batch, length, heads, width)
        sums = query.new_zeros(batch, heads // groups, groups, length, dtype=torch.float32)
        for start in range(0, length, self.query_block):
            end = min(start + self.query_block, length)
            rows = end - start
            block = query[:, :, :, start:end].reshape(batch, -1, groups * rows, width)
            scores = (block @ key[:, :, :end].transpose(2, 3)).float().mul_(scaling)
            scores = scores.view(batch, -1, groups, rows, end)
            later = torch.ones(rows, rows, dtype=torch.bool).triu_(1)
            scores[..., start:].masked_fill_(later, -torch.inf)
            torch.softmax(scores, -1, out=scores)
            sums[..., :end] += scores.sum(-2)
            mixed = scores.view(batch, -1, groups * rows, end).to(value.dtype) @ value[:, :, :end]
            output[:, start:end] = mixed.view(batch, heads, rows, width).transpose(1, 2)
        self.sums = sums.view(batch, heads, length)
        return output, None


def load(path, dtype, attention):
    if os.path.isdir(path):
        model = LlamaForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)
        return model.eval()
    return llama_gguf.load(path, dtype, attention)


def analyze_activations(model, batches, blocked):
    """Runs the batches; returns what the schema calls hiddenState, downInput and attention."""
    layers = range(model.config.num_hidden_layers)
    hidden = [{"layer": i + 1, "sequences": []} for i in layers]
    down_input = [{"layer": i + 1, "sequences": []} for i in layers]
    attention = []
    first = 0

    def keep(kept):
        def tap(layer, x):
            for i, sequence in enumerate(x):
                kept[layer]["sequences"].append(
                    {"sequence": first + i, **activation_statistics(sequence)}
                )

        return tap

    def keep_sums(layer, probabilities):
        sums = probabilities.sum(-2, dtype=torch.float32) if blocked is None else blocked.sums
        for i, sequence in enumerate(sums):
            attention.append(
                {"layer": layer + 1, "sequence": first + i, **attention_statistics(sequence)}
            )

    hooks = llama_gguf.add_taps(model, keep(hidden), keep(down_input), keep_sums)
    for batch in batches:
        model.model(torch.tensor(batch), use_cache=False)
        first += len(batch)
    for hook in hooks:
        hook.remove()
    return {"layers": hidden}, {"layers": down_input}, attention


def analyze_weights(model):
    return [
        {
            "layer": index + 1,
            "projection": projection,
            **weight_statistics(layer.get_submodule(name).weight),
        }
        for index, layer in enumerate(model.model.layers)
        for projection, (name, _) in llama_gguf.PROJECTIONS.items()
    ]


def write_page(analysis, path):
    """The largest values as tables."""

    def table(title, head, rows):
        lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
        return (
            f"<h2>{title}</h2><table><tr>"
            + "".join(f"<th>{cell}</th>" for cell in head)
            + "".join(f"</tr><tr>{line}" for line in lines)
            + "</tr></table>"
        )

    parts = ["<!doctype html><meta charset=utf-8><title>Outliers</title>"]
    for name in ("hiddenState", "downInput"):
        rows = [
            (layer["layer"], s["sequence"], s["top"][0]["token"], s["top"][0]["feature"])
            + tuple(f"{x:.4g}" for x in (s["top"][0]["value"], s["mean"], s["median"]))
            + (s["outlierCount"],)
            for layer in analysis[name]["layers"]
            for s in layer["sequences"]
        ]
        head = ("layer", "sequence", "token", "feature", "largest", "mean", "median", "outliers")
        parts.append(table(name, head, rows))
    rows = [
        (w["layer"], w["projection"], f"{w['topRows'][0]['ratio']:.4g}")
        + (f"{w['topColumns'][0]['ratio']:.4g}", w["outlierCount"])
        for w in analysis["weights"]
    ]
    parts.append(table("weights", ("layer", "projection", "row", "column", "outliers"), rows))
    rows = [
        (a["layer"], a["sequence"], a["mean"]["top"][0]["token"])
        + (f"{a['mean']['top'][0]['share']:.4g}", sum(bool(h["outliers"]) for h in a["heads"]))
        for a in analysis["attention"]
    ]
    head = ("layer", "sequence", "key", "share", "heads with outliers")
    parts.append(table("attention", head, rows))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))


def time_forward(model, batches):
    """Seconds of the forward passes alone, as fast as PyTorch does them; the better of two."""
    model.set_attn_implementation("sdpa")
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        for batch in batches:
            model.model(torch.tensor(batch), use_cache=False)
        best = min(best, time.perf_counter() - start)
    return best


def main():
    imported = time.time()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=llama_gguf.default_model_path())
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", required=True)
    parser.add_argument("--attention", choices=("blocked", "eager"), default="blocked")
    parser.add_argument("--no-forward", action="store_true", help="skip timing the bare forward")
    parser.add_argument("--query-block", type=int, default=128, help="queries in a block")
    parser.add_argument("--batch", action="store_true", help="all sequences at once, not one by one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.tokens, encoding="utf-8") as file:
        sequences = json.load(file)
    batches = [sequences] if options.batch else [[sequence] for sequence in sequences]

    with torch.inference_mode():
        blocked = BlockedAttention(options.query_block) if options.attention == "blocked" else None
        model = load(options.model, getattr(torch, options.dtype), options.attention)
        loaded = time.time()
        weights = analyze_weights(model)
        weighed = time.time()
        hidden, down_input, attention = analyze_activations(model, batches, blocked)
        analyzed = time.time()
        analysis = {
            "model": {"file": os.path.basename(options.model)},
            "criteria": {"tau": TAU, "attentionShare": ATTENTION_SHARE},
            "sequences": [{"tokenIds": ids} for ids in sequences],
            "hiddenState": hidden,
            "downInput": down_input,
            "weights": weights,
            "attention": attention,
        }
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(analysis, file)
        write_page(analysis, os.path.splitext(options.out)[0] + ".html")
        done = time.time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        forward = None if options.no_forward else time_forward(model, batches)
    seconds = {
        "total": done - START,
        "imports": imported - START,
        "load": loaded - imported,
        "weights": weighed - loaded,
        "analyze": analyzed - weighed,
        "forward": forward,
    }
    result = {
        "dtype": options.dtype,
        "attention": options.attention,
        "sequences": [len(sequence) for sequence in sequences],
        **{name: round(value, 3) for name, value in seconds.items() if value is not None},
        "peakMiB": round(peak),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

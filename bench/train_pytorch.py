"""PyTorch's side of `./dev bench train`, as its worker: a GPT-2 as nanoGPT has it, trained on random tokens.

    python bench/train_pytorch.py SETTING float32|bfloat16 eager|compiled THREADS

A line of standard input says how many steps to run, the answer how many seconds they took; to "peak" it is the
most memory that the process has had, in bytes. bfloat16 is autocast, with float32 parameters.
Written with Python 3.11, torch 2.13.0 (CPU).
"""

import math
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

GPT2 = dict(layers=12, heads=12, hidden=768, vocabulary=50304, context=1024)
SETTINGS = {
    "gpt2-4x256": dict(**GPT2, batch=4, tokens=256),
    "gpt2-2x1024": dict(**GPT2, batch=2, tokens=1024),
    "small": dict(layers=4, heads=4, hidden=128, vocabulary=2048, context=256, batch=8, tokens=256),
    "medium": dict(layers=6, heads=4, hidden=256, vocabulary=256, context=256, batch=16, tokens=256),
}


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden, bias=False)
        self.norm2 = nn.LayerNorm(hidden, bias=False)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.output = nn.Linear(hidden, hidden, bias=False)
        self.up = nn.Linear(hidden, 4 * hidden, bias=False)
        self.down = nn.Linear(4 * hidden, hidden, bias=False)

    def forward(self, h):
        batch, tokens, hidden = h.shape
        q, k, v = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(h)).split(hidden, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.output(y.transpose(1, 2).reshape(batch, tokens, hidden))
        return h + self.down(F.gelu(self.up(self.norm2(h))))


class GPT2(nn.Module):
    def __init__(self, layers, heads, hidden, vocabulary, context):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(context, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        self.head.weight = self.embed.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                deep = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * layers) if deep else 1))

    def forward(self, inputs, targets):
        h = self.embed(inputs) + self.positions.weight[: inputs.shape[1]]
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main():
    name, dtype, mode, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    setting = dict(SETTINGS[name])
    shape = setting.pop("batch"), setting.pop("tokens")
    inputs, targets = (torch.randint(0, setting["vocabulary"], shape) for _ in range(2))
    model = GPT2(**setting)
    forward = torch.compile(model) if mode == "compiled" else model
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=0.1), dict(params=others, weight_decay=0.0)],
        lr=1e-4,
        betas=(0.9, 0.95),
        fused=True,
    )

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = forward(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for line in sys.stdin:
        if line.strip() == "peak":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            continue
        begin = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()

"""PyTorch's side of `./dev bench tensor`: times one operation after the other, as asked on standard input.

    python bench/tensor_pytorch.py THREADS

Each line is the name of a case, or "forward" or "backward", which run the current case once and answer with
the seconds that it took. Inputs are random; gradients flow to those that take part in the derivative.
Written with Python 3.11, torch 2.13.0 (CPU).
"""

import math
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
T, H, I, V = 4096, 768, 3072, 50304
HEADS, L, D = 12, 1024, 64


def n(*shape, dtype=torch.float32, grad=True):
    return torch.randn(*shape).to(dtype).requires_grad_(grad)


def ids(high, *shape):
    return torch.randint(0, high, shape)


def rotary(x):
    """Rotates halves by precomputed tables, as the models of transformers do."""
    cosine, sine = rotary.tables
    a, b = x[..., : D // 2], x[..., D // 2 :]
    return x * cosine + torch.cat([-b, a], -1) * sine


angles = torch.outer(torch.arange(L).float(), 10000 ** (-torch.arange(0, D, 2) / D))
rotary.tables = (torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1))

BF16 = torch.bfloat16
# Each case: its inputs, and the operation.
CASES = {
    "add": lambda: ([n(T, I), n(T, I)], torch.add),
    "add row": lambda: ([n(T, I), n(I)], torch.add),
    "mul": lambda: ([n(T, I), n(T, I)], torch.mul),
    "mul bf16": lambda: ([n(T, I, dtype=BF16), n(T, I, dtype=BF16)], torch.mul),
    "mul scalar": lambda: ([n(T, I)], lambda x: x * 0.125),
    "div": lambda: ([n(T, I), n(T, I)], torch.div),
    "exp": lambda: ([n(T, I)], torch.exp),
    "log": lambda: ([n(T, I).detach().abs().requires_grad_()], torch.log),
    "sqrt": lambda: ([n(T, I).detach().abs().requires_grad_()], torch.sqrt),
    "tanh": lambda: ([n(T, I)], torch.tanh),
    "sigmoid": lambda: ([n(T, I)], torch.sigmoid),
    "relu": lambda: ([n(T, I)], torch.relu),
    "silu": lambda: ([n(T, I)], F.silu),
    "gelu tanh": lambda: ([n(T, I)], lambda x: F.gelu(x, approximate="tanh")),
    "gelu exact": lambda: ([n(T, I)], F.gelu),
    "bias + gelu": lambda: ([n(T, I), n(I)], lambda x, b: F.gelu(x + b, approximate="tanh")),
    "swiglu": lambda: ([n(T, 2 * I)], lambda x: F.silu(x[:, :I]) * x[:, I:]),
    "less": lambda: ([n(T, I, grad=False), n(T, I, grad=False)], torch.lt),
    "where": lambda: ([n(T, I), n(T, I)], lambda a, b, c=n(T, I, grad=False) > 0: torch.where(c, a, b)),
    "clamp": lambda: ([n(T, I)], lambda x: x.clamp(-1, 1)),
    "dropout": lambda: ([n(T, I)], lambda x: F.dropout(x, 0.1)),
    "cast to bf16": lambda: ([n(T, I)], lambda x: x.to(BF16)),
    "sum all": lambda: ([n(T, I)], torch.sum),
    "sum rows": lambda: ([n(T, I)], lambda x: x.sum(1)),
    "sum columns": lambda: ([n(T, I)], lambda x: x.sum(0)),
    "mean rows": lambda: ([n(T, I)], lambda x: x.mean(1)),
    "max rows": lambda: ([n(T, I)], lambda x: x.amax(1)),
    "argmax rows": lambda: ([n(T, I, grad=False)], lambda x: x.argmax(1)),
    "variance rows": lambda: ([n(T, I)], lambda x: x.var(1)),
    "norm all": lambda: ([n(T, I)], lambda x: torch.linalg.vector_norm(x)),
    "median rows": lambda: ([n(T, H)], lambda x: x.median(1)[0]),
    "top 8 of rows": lambda: ([n(T, H)], lambda x: x.topk(8)[0]),
    "softmax": lambda: ([n(HEADS, L, L)], lambda x: torch.softmax(x, -1)),
    "log-softmax": lambda: ([n(HEADS, L, L)], lambda x: torch.log_softmax(x, -1)),
    "cross-entropy": lambda: ([n(L, V)], lambda x, t=ids(V, L): F.cross_entropy(x, t)),
    "layer norm": lambda: ([n(T, H), n(H), n(H)], lambda x, g, b: F.layer_norm(x, (H,), g, b)),
    "RMS norm": lambda: ([n(T, H), n(H)], lambda x, g: F.rms_norm(x, (H,), g, 1e-5)),
    "matmul": lambda: ([n(T, H), n(H, I)], torch.matmul),
    "matmul bf16": lambda: ([n(T, H, dtype=BF16), n(H, I, dtype=BF16)], torch.matmul),
    "matmul batch": lambda: ([n(HEADS, L, D), n(HEADS, L, D)], lambda q, k: q @ k.transpose(1, 2)),
    "linear": lambda: ([n(T, H), n(I, H), n(I)], F.linear),
    "linear mixed": lambda: (
        [n(T, H), n(I, H)],
        lambda x, w: F.linear(x.to(BF16), w.to(BF16)).float(),
    ),
    "embedding": lambda: ([n(V, H)], lambda w, t=ids(V, T): F.embedding(t, w)),
    "concatenate": lambda: ([n(T, H), n(T, H)], lambda a, b: torch.cat([a, b], 1)),
    "split in 3": lambda: ([n(T, 3 * H)], lambda x: [part.contiguous() for part in x.split(H, 1)][1]),
    "heads apart": lambda: ([n(4, L, HEADS, D)], lambda x: x.transpose(1, 2).contiguous()),
    "transpose": lambda: ([n(T, I)], lambda x: x.t().contiguous()),
    "rotary": lambda: ([n(HEADS, L, D)], rotary),
    "uniform": lambda: ([], lambda: torch.rand(T, I)),
    "normal": lambda: ([], lambda: torch.randn(T, I)),
}


def main():
    inputs, operation, gradient = [], None, None
    for line in sys.stdin:
        word = line.strip()
        if word == "forward":
            begin = time.perf_counter()
            operation(*inputs)
            print(time.perf_counter() - begin, flush=True)
        elif word == "backward":
            result = operation(*inputs)
            if gradient is None or gradient.shape != result.shape:
                gradient = torch.randn(result.shape).to(result.dtype)
            begin = time.perf_counter()
            torch.autograd.grad(result, inputs, gradient)
            print(time.perf_counter() - begin, flush=True)
            del result
        else:
            gradient = operation = None
            inputs.clear()
            inputs, operation = CASES[word]()
            print(0, flush=True)


if __name__ == "__main__":
    assert math.isclose(D * HEADS, H)
    main()

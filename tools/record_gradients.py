"""Records results and gradients of PyTorch's operations, as tests/fixtures/tensor_gradients.json.

    python tools/record_gradients.py

Each case has an operation's name and arguments as this library has them, its inputs, its result, and the
gradients of the inputs for a gradient of the result that element(i) gives. Tensors are base64 of
little-endian elements in row-major order: float32, bfloat16 (its 16 bits), int32 or uint8. Takes seconds.
Written with Python 3.11, torch 2.13.0 (CPU), numpy 2.4.6.
"""

import base64
import json
import math
import os

import numpy
import torch
import torch.nn.functional as F

OUTPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "tensor_gradients.json")

NAN, INF = math.nan, math.inf
FLOATS = (torch.float32, torch.bfloat16)
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.int32: "int32", torch.uint8: "uint8"}

torch.manual_seed(20261122)
cases = []


def element(i):
    """An element of the gradient that backward passes start from: exact in bfloat16, without a short period."""
    return ((i * 37 + 11) % 17 - 8) / 8


def encode(tensor):
    tensor = tensor.detach().contiguous()
    if tensor.dtype in (torch.int64, torch.bool):
        tensor = tensor.to(torch.int32 if tensor.dtype == torch.int64 else torch.uint8)
    bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return {
        "dtype": NAMES[tensor.dtype],
        "shape": list(tensor.shape),
        "data": base64.b64encode(bits.numpy().tobytes()).decode(),
    }


def record(op, f, inputs, args=(), gradients=True):
    """f(*inputs) is what `op` computes with `args` behind its inputs; a list where it has several results.

    `gradients` says whether inputs get any, or how many of the first do.
    """
    first = gradients if type(gradients) is int else len(inputs) * gradients
    inputs = [x.detach().clone().requires_grad_(i < first and x.dtype in FLOATS) for i, x in enumerate(inputs)]
    result = f(*inputs)
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    case = {"op": op, "args": list(args), "inputs": [encode(x) for x in inputs], "results": [encode(y) for y in results]}
    differentiable = [y for y in results if y.requires_grad]
    if differentiable:
        starts = [torch.tensor([element(i) for i in range(y.numel())], dtype=y.dtype).reshape(y.shape) for y in differentiable]
        torch.autograd.backward(differentiable, starts)
        case["gradients"] = [None if x.grad is None else encode(x.grad) for x in inputs]
    cases.append(case)


def normal(*shape, dtype=torch.float32, scale=1.0, shift=0.0):
    return (torch.randn(shape) * scale + shift).to(dtype)


def positive(*shape, dtype=torch.float32):
    return (torch.rand(shape) * 3 + 0.05).to(dtype)


def special(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)


ODD = special(NAN, INF, -INF, 0.0, -0.0, 1.5, -2.5, 100.0, -100.0, 1e-30, 3e38)


def gated(activation):
    def f(x):
        gate, up = x.chunk(2, -1)
        return activation(gate) * up
    return f


def unary():
    anywhere = {
        "neg": torch.neg, "abs": torch.abs, "square": torch.square, "exp": torch.exp, "expm1": torch.expm1,
        "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "erf": torch.erf, "sigmoid": torch.sigmoid,
        "relu": torch.relu, "silu": F.silu, "gelu": F.gelu, "softplus": F.softplus,
    }
    for name, f in anywhere.items():
        record(name, f, [normal(3, 5, scale=2)])
        record(name, f, [normal(33, dtype=torch.bfloat16, scale=2)])
        # Of an infinite angle all is NaN; so is PyTorch's gelu(∞) where it vectorizes, which should be ∞.
        finite = name in ("sin", "cos", "gelu")
        record(name, f, [ODD[torch.isfinite(ODD) | torch.isnan(ODD)][:6] if finite else ODD], gradients=False)
    # Flat almost everywhere: no gradient flows, where PyTorch sends zeros.
    for name, f in {"sign": torch.sign, "floor": torch.floor, "round": torch.round}.items():
        record(name, f, [normal(3, 5, scale=2)], gradients=False)
        record(name, f, [normal(33, dtype=torch.bfloat16, scale=2)], gradients=False)
        record(name, f, [special(NAN, INF, -INF, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e30)], gradients=False)
    record("geluTanh", lambda x: F.gelu(x, approximate="tanh"), [normal(2, 3, 7, scale=2)])
    record("geluTanh", lambda x: F.gelu(x, approximate="tanh"), [special(0.0, 1.5, -2.5, 100.0, -100.0)], gradients=False)
    for name, f in {"log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal}.items():
        record(name, f, [positive(4, 1, 6)])
        record(name, f, [positive(17, dtype=torch.bfloat16)])
        record(name, f, [special(NAN, INF, -INF, 0.0, -2.5, 1e-30, 3e38)], gradients=False)


def binary():
    operations = {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
        "maximum": torch.maximum, "minimum": torch.minimum,
    }
    shapes = [((3, 5), (3, 5)), ((2, 3, 4), (3, 1)), ((5,), (2, 1, 5)), ((), (4, 3)), ((1, 7, 1), (2, 1, 3)), ((2, 1, 3, 1), (4, 1, 5))]
    for name, f in operations.items():
        for a, b in shapes:
            record(name, f, [normal(*a), positive(*b)])
        record(name, f, [normal(4, 9, dtype=torch.bfloat16), positive(9, dtype=torch.bfloat16)])
        record(name, f, [ODD.reshape(-1, 1), special(NAN, INF, -INF, 0.0, 2.0)], gradients=False)
    record("pow", torch.pow, [positive(3, 5), normal(5)])
    record("pow", torch.pow, [positive(2, 1, 4), normal(3, 1)])
    record("pow", torch.pow, [special(NAN, INF, 0.0, 2.0, -2.0).reshape(-1, 1), special(NAN, 0.0, 1.0, 2.0, -1.0, 0.5, INF)], gradients=False)
    comparisons = {
        "equal": torch.eq, "notEqual": torch.ne, "less": torch.lt, "lessEqual": torch.le,
        "greater": torch.gt, "greaterEqual": torch.ge,
    }
    for name, f in comparisons.items():
        record(name, f, [normal(3, 4).round(), normal(4).round()])
        record(name, f, [special(NAN, 1.0, INF).reshape(-1, 1), special(NAN, 1.0, INF)])
    mask = (torch.rand(3, 4) < 0.5).to(torch.uint8)
    record("where", lambda m, a, b: torch.where(m.bool(), a, b), [mask, normal(3, 4), normal(4)])
    record("where", lambda m, a, b: torch.where(m.bool(), a, b), [mask[0], normal(2, 3, 1), normal(3, 4)])
    for low, high in ((-0.5, 0.75), (-1.0, 1.0)):
        record("clamp", lambda x: torch.clamp(x, low, high), [normal(5, 7)], [low, high])
    record("clamp", lambda x: torch.clamp(x, -1.0, 1.0), [ODD], [-1, 1], gradients=False)


def gates():
    for name, f in {
        "swiglu": gated(F.silu), "geglu": gated(F.gelu), "gegluTanh": gated(lambda x: F.gelu(x, approximate="tanh")),
        "reglu": gated(torch.relu), "glu": F.glu,
    }.items():
        record(name, f, [normal(3, 10)])
        record(name, f, [normal(2, 3, 6)])
        record(name, f, [normal(4, 14, dtype=torch.bfloat16)])


AXES = [((3, 5), None), ((3, 5), 0), ((3, 5), -1), ((2, 3, 4), [0, 2]), ((2, 3, 4), 1), ((2, 3, 2, 3), [1, 2]), ((33,), 0)]


def reductions():
    def over(f):
        def with_axes(x, axes, keep):
            every = list(range(x.dim()))
            axes = every if axes is None else [axes] if isinstance(axes, int) else axes
            return f(x, tuple(axes), keep)
        return with_axes

    def prod(x, axes, keep):
        for axis in sorted((a % x.dim() for a in axes), reverse=True):
            x = torch.prod(x, axis, keepdim=keep)
        return x

    functions = {
        "sum": over(lambda x, a, k: torch.sum(x, a, keepdim=k)),
        "mean": over(lambda x, a, k: torch.mean(x, a, keepdim=k)),
        "max": over(lambda x, a, k: torch.amax(x, a, keepdim=k)),
        "min": over(lambda x, a, k: torch.amin(x, a, keepdim=k)),
        "prod": over(prod),
        "variance": over(lambda x, a, k: torch.var(x, a, keepdim=k)),
        "std": over(lambda x, a, k: torch.std(x, a, keepdim=k)),
        "norm": over(lambda x, a, k: torch.linalg.vector_norm(x, 2, a, keepdim=k)),
        "logSumExp": over(lambda x, a, k: torch.logsumexp(x, a, keepdim=k)),
    }
    for name, f in functions.items():
        for number, (shape, axes) in enumerate(AXES):
            keep = number % 2 == 1
            record(name, lambda x: f(x, axes, keep), [normal(*shape)], [axes, keep])
        record(name, lambda x: f(x, -1, False), [special(1.0, NAN, 2.0, 1.0, INF, 2.0).reshape(2, 3)], [-1, False], gradients=False)
    for name in ("sum", "mean", "max", "min"):
        record(name, lambda x: functions[name](x, -1, False), [normal(3, 65, dtype=torch.bfloat16)], [-1, False])
    for p in (1, "Infinity"):
        order = INF if p == "Infinity" else p
        record("norm", lambda x: torch.linalg.vector_norm(x, order, -1), [normal(3, 5)], [-1, False, p])
    record("variance", lambda x: torch.var(x, 1, correction=0), [normal(3, 5)], [1, False, 0])
    for name, f in {"argmax": torch.argmax, "argmin": torch.argmin}.items():
        record(name, lambda x: f(x, 1), [normal(3, 5, 2)], [1])
        record(name, lambda x: f(x, 0), [special(1.0, NAN, 2.0, NAN)], [0])
        record(name, lambda x: f(x, 0), [special(3.0, -1.0, 3.0, -1.0)], [0])
    record("cumulativeSum", lambda x: torch.cumsum(x, 1), [normal(3, 7, 2)], [1])
    record("cumulativeSum", lambda x: torch.cumsum(x, 0), [normal(35)], [0])
    for q in (0.5, 0.25, 0.9):
        record("quantile", lambda x: torch.quantile(x, q, 1), [normal(4, 9)], [q, 1])
        record("quantile", lambda x: torch.quantile(x, q, 0), [normal(6, 2)], [q, 0])
    record("median", lambda x: torch.median(x, 1).values, [normal(3, 8)], [1])
    record("median", lambda x: torch.median(x, 0).values, [normal(7, 2)], [0])
    record("sort", lambda x: torch.sort(x, 1), [normal(3, 9)], [1])
    record("sort", lambda x: torch.sort(x, 0, descending=True), [normal(6, 2)], [0, "descending"])
    record("topK", lambda x: torch.topk(x, 3, 1), [normal(4, 9)], [3, 1])
    record("topK", lambda x: torch.topk(x, 2, 0), [normal(5, 3)], [2, 0])
    for name, f in {"softmax": torch.softmax, "logSoftmax": torch.log_softmax}.items():
        for shape, axis in (((3, 5), -1), ((2, 5, 3), 1), ((4, 33), 1), ((7, 2), 0)):
            record(name, lambda x: f(x, axis), [normal(*shape, scale=3)], [axis])
        record(name, lambda x: f(x, -1), [normal(3, 17, dtype=torch.bfloat16)], [-1])
        odd = special(1.0, -INF, 2.0, NAN, 1.0, 2.0, INF, 0.0, 1.0, 100.0, -100.0, 0.0).reshape(4, 3)
        record(name, lambda x: f(x, -1), [odd], [-1], gradients=False)


def products():
    shapes = [((3, 4), (4, 5)), ((4,), (4, 3)), ((3, 4), (4,)), ((5,), (5,)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (2, 4, 3)), ((2, 1, 3, 4), (3, 4, 2)), ((33, 7), (7, 1))]
    for a, b in shapes:
        record("matmul", torch.matmul, [normal(*a), normal(*b)])
    record("matmul", lambda a, b: a.transpose(-1, -2) @ b, [normal(4, 3), normal(4, 5)], ["transposeA"])
    record("matmul", lambda a, b: a @ b.transpose(-1, -2), [normal(2, 3, 4), normal(2, 5, 4)], ["transposeB"])
    for shape in ((5, 4), (2, 3, 4)):
        record("linear", F.linear, [normal(*shape), normal(6, 4), normal(6)])
        record("linear", F.linear, [normal(*shape), normal(6, 4)])
    ids = torch.tensor([[1, 4, 1], [0, 4, 4]], dtype=torch.int32)
    record("embedding", lambda i, t: F.embedding(i, t), [ids, normal(6, 3)])
    record("embedding", lambda i, t: F.embedding(i, t), [ids[0], normal(6, 5, dtype=torch.bfloat16)])
    record("indexSelect", lambda x, i: torch.index_select(x, 1, i), [normal(2, 5, 2), ids[0]], [1])
    record("oneHot", lambda i: F.one_hot(i.long(), 6).float(), [ids], [6])
    at = torch.tensor([[0, 2, 1, 1], [2, 0, 0, 2]], dtype=torch.int32)
    record("takeAlongAxis", lambda x, i: torch.gather(x, 0, i.long()), [normal(3, 4), at], [0])
    record("takeAlongAxis", lambda x, i: torch.gather(x, 1, i.long()), [normal(2, 5), at], [1])
    record("scatterAdd", lambda x, i, s: torch.scatter_add(x, 0, i.long(), s), [normal(3, 4), at, normal(2, 4)], [0])
    record("scatterAdd", lambda x, i, s: torch.scatter_add(x, 1, i.long(), s), [normal(2, 3), at, normal(2, 4)], [1])


def shapes():
    record("reshape", lambda x: x.reshape(4, 3), [normal(2, 6)], [[4, 3]])
    record("reshape", lambda x: x.reshape(2, -1, 1), [normal(2, 2, 3)], [[2, -1, 1]])
    record("permute", lambda x: x.permute(2, 0, 1), [normal(2, 3, 4)], [[2, 0, 1]])
    record("permute", lambda x: x.permute(0, 3, 1, 2), [normal(1, 3, 2, 5, dtype=torch.bfloat16)], [[0, 3, 1, 2]])
    record("transpose", lambda x: x.transpose(0, 2), [normal(2, 3, 4)], [0, 2])
    record("slice", lambda x: x[1:3], [normal(4, 3)], [1, 3, 0])
    record("slice", lambda x: x[:, :, 2:5], [normal(2, 2, 6)], [2, 5, 2])
    record("expand", lambda x: x.expand(2, 3, 4), [normal(3, 1)], [[2, 3, 4]])
    record("concatenate", lambda a, b, c: torch.cat([a, b, c], 1), [normal(2, 1, 3), normal(2, 4, 3), normal(2, 2, 3)], [1])
    record("concatenate", lambda a, b: torch.cat([a, b], -1), [normal(3, 2), normal(3, 5)], [-1])
    record("stack", lambda a, b: torch.stack([a, b], 1), [normal(2, 3), normal(2, 3)], [1])
    record("tile", lambda x: torch.tile(x, (2, 3)), [normal(2, 3)], [[2, 3]])
    record("repeat", lambda x: torch.repeat_interleave(x, 3, 1), [normal(2, 3)], [3, 1])
    record("split", lambda x: torch.split(x, [2, 1, 3], 1), [normal(2, 6)], [[2, 1, 3], 1])
    record("pad", lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), [normal(2, 3)], [[[0, 3], [1, 2]], 0.5])
    record("pad", lambda x: F.pad(x, (2, 0)), [normal(5)], [[[2, 0]], 0])


def norms():
    for shape in ((3, 8), (2, 3, 5), (33,)):
        width = shape[-1]
        record("layerNorm", lambda x, g, b: F.layer_norm(x, (width,), g, b, 1e-5), [normal(*shape, scale=2, shift=1), normal(width), normal(width)], [1e-5])
        record("rmsNorm", lambda x, g: F.rms_norm(x, (width,), g, 1e-6), [normal(*shape, scale=2), normal(width)], [1e-6])


    for shape in ((3, 8), (2, 3, 5)):
        width = shape[-1]

        def add_rms_norm(x, branch, g):
            return [x + branch, F.rms_norm(x + branch, (width,), g, 1e-5)]

        def add_layer_norm(x, branch, g, b):
            return [x + branch, F.layer_norm(x + branch, (width,), g, b, 1e-5)]

        record("addRmsNorm", add_rms_norm, [normal(*shape), normal(*shape), normal(width)])
        record("addLayerNorm", add_layer_norm, [normal(*shape), normal(*shape), normal(width), normal(width)])


def positions():
    def halves(x, cosine, sine):
        a, b = x.chunk(2, -1)
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)

    def adjacent(x, cosine, sine):
        turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.complex(cosine, sine)
        return torch.view_as_real(turned).flatten(-2)

    for shape in ((5, 8), (2, 3, 4, 6)):
        angles = torch.outer(torch.arange(shape[-2]), 10000.0 ** -(torch.arange(0, shape[-1], 2) / shape[-1]))
        for name, f in (("halves", halves), ("adjacent", adjacent)):
            record("rotary", f, [normal(*shape), angles.cos(), angles.sin()], [name], gradients=1)
    for queries, keys, window in ((5, 5, None), (3, 7, None), (6, 6, 2)):
        seen = torch.ones(queries, keys, dtype=torch.uint8).tril(keys - queries)
        if window:
            seen = seen.triu(keys - queries - window + 1)
        record("causalMask", lambda: seen, [], [queries, keys, window])


def losses():
    for reduction in ("mean", "sum", "none"):
        record("mseLoss", lambda x, t: F.mse_loss(x, t, reduction=reduction), [normal(3, 5), normal(3, 5)], [reduction], gradients=1)
        record("binaryCrossEntropyWithLogits", lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction), [normal(3, 5, scale=9), torch.rand(3, 5)], [reduction], gradients=1)
        record("klDivergence", lambda x, t: F.kl_div(x, t, reduction=reduction), [torch.log_softmax(normal(3, 5), -1), torch.softmax(normal(3, 5), -1)], [reduction], gradients=1)
    targets = torch.tensor([2, 0, 4, 1], dtype=torch.int32)
    some = torch.tensor([2, -100, 4, -100], dtype=torch.int32)
    for reduction in ("mean", "sum", "none"):
        for at in (targets, some):
            record("crossEntropy", lambda x, t: F.cross_entropy(x, t.long(), reduction=reduction), [normal(4, 5, scale=2), at], [reduction, 0])
    record("crossEntropy", lambda x, t: F.cross_entropy(x, t.long(), label_smoothing=0.1), [normal(4, 37, scale=2), targets], ["mean", 0.1])
    ids = torch.tensor([[1, 0, 3], [2, 2, 0]], dtype=torch.int32)
    record("crossEntropy", lambda x, t: F.cross_entropy(x.reshape(6, 4), t.reshape(6).long()), [normal(2, 3, 4), ids], ["mean", 0])


for group in (unary, binary, gates, reductions, products, shapes, norms, positions, losses):
    group()
with open(OUTPUT, "w") as file:
    about = {"pytorch": torch.__version__, "numpy": numpy.__version__}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    file.write(f'{{"about":{json.dumps(about)},"cases":[\n{lines}\n]}}\n')
print(f"{len(cases)} cases of {len({case['op'] for case in cases})} operations, {os.path.getsize(OUTPUT)} bytes")

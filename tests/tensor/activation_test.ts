// Activations and their gradients against float64, also where e^(-z) overflows or vanishes.

import { assertEquals, assertThrows } from "@std/assert";
import { type FloatType, Tensor } from "../../mod.ts";
import { erf } from "../../src/doctor/self_test/functions.ts";
import {
	type Activation,
	biasActivation,
	geglu,
	gelu,
	glu,
	reglu,
	relu,
	silu as siluOf,
	softplus,
	swiglu,
} from "../../src/tensor/activation.ts";
import { checkOp, numbers, type Plain } from "./gradients.ts";
import { assertClose, device, deviceTest, normal, normalMatrix } from "./on_device.ts";

/** The polynomial e^x of the kernels errs by about 2⁻²³, and three roundings follow. */
const TOLERANCE = 5e-7;

const silu = (z: number) => z / (1 + Math.exp(-z));

for (const [rows, width] of [[1, 1], [3, 33], [65, 7], [4, 1536]] as const) {
	deviceTest(`swiglu of [${rows},${2 * width}] is silu(gate) · up`, async () => {
		const { data, tensor } = normalMatrix(rows, 2 * width, 4);
		using x = tensor;
		using y = swiglu(x);
		assertEquals([...y.shape], [rows, width]);
		const expected = Float64Array.from({ length: rows * width }, (_, i) => {
			const at = Math.floor(i / width) * 2 * width + i % width;
			return silu(data[at]) * data[at + width];
		});
		assertClose(await y.data(), expected, TOLERANCE, "swiglu");
	});
}

deviceTest("swiglu is finite at the ends: 0 far below, the product far above", async () => {
	const gate = [-1000, -100, -88, 0, 88, 100, 1000];
	using x = Tensor.from<"float32", 2>(device, "float32", [1, 14], [...gate, ...gate.map(() => 2)]);
	using y = swiglu(x);
	const actual = await y.data();
	const expected = gate.map((z) => 2 * silu(z));
	expected.forEach((value, i) =>
		assertClose([actual[i]], [value], Math.abs(value) < 1e-30 ? 1 : TOLERANCE, `gate ${gate[i]}`)
	);
});

deviceTest("an odd width has no gate and up", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
	assertThrows(() => swiglu(x), RangeError, "Cannot compute swiglu: the width 5 of [2,5] is odd");
});

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const exact: Record<Activation, (x: number) => number> = {
	relu: (x) => Math.max(x, 0),
	silu: (x) => x * sigmoid(x),
	gelu: (x) => x * (1 + erf(x / Math.SQRT2)) / 2,
	gelu_tanh: (x) => x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) / 2,
	softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};
const tanh = { approximate: "tanh" } as const;
type Values = Tensor<FloatType>;
const operations: Record<Activation, (x: Values) => Values> = {
	relu,
	silu: siluOf,
	gelu,
	gelu_tanh: (x) => gelu(x, tanh),
	softplus,
};
const SHAPES = [[1], [7], [0, 3], [3, 65], [2, 3, 129]];

for (const activation of Object.keys(exact) as Activation[]) {
	deviceTest(`${activation} and its gradient`, () => {
		for (const shape of SHAPES) {
			for (const dtype of ["float32", "bfloat16"] as const) {
				checkOp({
					name: `${activation} of ${dtype} [${shape}]`,
					inputs: [{
						shape,
						dtype,
						data: normal(shape.reduce((a, b) => a * b, 1), 2),
						transposed: shape.length > 1,
					}],
					op: operations[activation],
					reference: (x) => x.data.map(exact[activation]),
				});
			}
		}
	});
	deviceTest(`${activation} of x + bias and its gradients`, () => {
		for (const shape of SHAPES) {
			for (const dtype of ["float32", "bfloat16"] as const) {
				checkOp({
					name: `${activation} of ${dtype} [${shape}] + bias`,
					inputs: [{ shape, dtype, transposed: shape.length > 1 }, {
						shape: shape.slice(-1),
						dtype,
					}],
					op: (x, bias) => biasActivation(x, bias, activation),
					reference: (x, bias) =>
						x.data.map((x, i) => exact[activation](x + bias.data[i % bias.data.length])),
				});
			}
		}
	});
}

const gates: Record<string, [(x: Values) => Values, (gate: number) => number]> = {
	swiglu: [swiglu, exact.silu],
	geglu: [geglu, exact.gelu],
	"geglu by tanh": [(x) => geglu(x, tanh), exact.gelu_tanh],
	reglu: [reglu, exact.relu],
	glu: [glu, sigmoid],
};
for (const [name, [op, gateOf]] of Object.entries(gates)) {
	const reference = ({ shape, data }: Plain) => {
		const width = shape.at(-1)! / 2;
		return Float64Array.from({ length: data.length / 2 }, (_, i) => {
			const at = Math.floor(i / width) * 2 * width + i % width;
			const [first, second] = [data[at], data[at + width]];
			return name === "glu" ? first * gateOf(second) : gateOf(first) * second;
		});
	};
	deviceTest(`${name} and its gradient`, () => {
		for (const shape of [[2], [6], [0, 4], [3, 66], [2, 3, 14]]) {
			for (const dtype of ["float32", "bfloat16"] as const) {
				checkOp({
					name: `${name} of ${dtype} [${shape}]`,
					inputs: [{ shape, dtype, transposed: shape.length > 1 }],
					op,
					reference,
				});
			}
		}
	});
}

deviceTest("swiglu takes and gives either type, forward and backward", () => {
	for (const dtype of ["float32", "bfloat16"] as const) {
		for (const to of ["float32", "bfloat16"] as const) {
			checkOp({
				name: `swiglu from ${dtype} to ${to}`,
				inputs: [{ shape: [3, 66], dtype }],
				op: (x) => swiglu(x, to),
				reference: ({ data }) =>
					Float64Array.from({ length: 99 }, (_, i) => {
						const at = Math.floor(i / 33) * 66 + i % 33;
						return silu(data[at]) * data[at + 33];
					}),
			});
		}
	}
});

deviceTest("activations and slopes at infinity, 0 and NaN are PyTorch's, or the limits", () => {
	const x = [NaN, Infinity, 0, -200, 200];
	const table: [Activation, number[], number[]][] = [
		["relu", [NaN, Infinity, 0, 0, 200], [1, 1, 0, 0, 1]],
		["silu", [NaN, Infinity, 0, 0, 200], [NaN, NaN, 0.5, 0, 1]],
		["gelu", [NaN, Infinity, 0, 0, 200], [NaN, NaN, 0.5, 0, 1]],
		["gelu_tanh", [NaN, Infinity, 0, 0, 200], [NaN, NaN, 0.5, 0, 1]],
		["softplus", [NaN, Infinity, Math.fround(Math.LN2), 0, 200], [NaN, 1, 0.5, 0, 1]],
	];
	for (const [name, values, slopes] of table) {
		using leaf = Tensor.from<"float32", 1>(device, "float32", [5], x).requireGrad();
		using ones = Tensor.from<"float32", 1>(device, "float32", [5], x.map(() => 1));
		using y = operations[name](leaf);
		y.backward({ gradient: ones });
		assertEquals(numbers(y).map((value) => value + 0), values, name);
		assertEquals(numbers(leaf.grad!).map((value) => value + 0), slopes, name);
	}
});

deviceTest("a bias that does not fit is refused", () => {
	using x = Tensor.zeros<"float32", 2>(device, "float32", [2, 5]);
	using bias = Tensor.zeros<"float32", 1>(device, "float32", [4]);
	assertThrows(
		() => biasActivation(x, bias, "gelu"),
		RangeError,
		"Cannot compute biasActivation: the bias must have shape [5], got [4]",
	);
});

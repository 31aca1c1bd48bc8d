// Operations on tensors that all cores share, twice: the same bits, whichever core was quicker.

import { assertEquals } from "@std/assert";
import {
	addLayerNorm,
	biasActivation,
	crossEntropy,
	cumulativeSum,
	embedding,
	Generator,
	gradients,
	layerNorm,
	linear,
	logSumExp,
	matmul,
	mean,
	norm,
	normal,
	randint,
	rmsNorm,
	scope,
	softmax,
	sum,
	swiglu,
	type Tensor,
	topK,
	variance,
} from "../../mod.ts";
import { deviceTest } from "./on_device.ts";

type Matrix = Tensor<"float32", 2>;

const generator = new Generator(11);
const COLUMNS = 516;
const OPERATIONS: Record<string, (x: Matrix, row: Tensor<"float32", 1>) => Tensor> = {
	sum: (x) => sum(x),
	"sum of columns": (x) => sum(x, 0),
	mean: (x) => mean(x, 1),
	norm: (x) => norm(x),
	variance: (x) => variance(x, 0),
	logSumExp: (x) => logSumExp(x, 0),
	cumulativeSum: (x) => cumulativeSum(x, 0),
	softmax: (x) => softmax(x),
	crossEntropy: (x) => {
		using targets = randint([x.shape[0]], 0, COLUMNS, { generator: new Generator(1) });
		return crossEntropy(x, targets);
	},
	layerNorm: (x, row) => layerNorm(x, row, { bias: row }),
	rmsNorm: (x, row) => rmsNorm(x, row),
	addLayerNorm: (x, row) => addLayerNorm(x, x, row)[1],
	biasActivation: (x, row) => biasActivation(x, row, "gelu"),
	swiglu: (x) => swiglu(x),
	linear: (x) => linear(x, x.slice(0, 37)),
	matmul: (x) => matmul(x.transpose(), x),
	topK: (x) => topK(x, 5).values,
	embedding: (x) => {
		using ids = randint([3000], 0, 40, { generator: new Generator(2) }); // each row many times
		return embedding(ids, x);
	},
};

for (const [name, operation] of Object.entries(OPERATIONS)) {
	deviceTest(`${name} and its gradients have the same bits twice`, () => {
		using x = normal([1021, COLUMNS], { generator }).requireGrad();
		using row = normal([COLUMNS], { generator }).requireGrad();
		const run = () =>
			scope(() => {
				const y = operation(x, row);
				const gradient = normal(y.shape, { generator: new Generator(3) });
				const found = gradients(y, [x, row], { gradient });
				return [y, ...found].map((one) => one?.dataSync() ?? null);
			});
		const first = run();
		for (let i = 0; i < 3; i++) assertEquals(run(), first);
	});
}

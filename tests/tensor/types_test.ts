// What the types of tensors promise, held by the type checker: each `@ts-expect-error` is an error of its
// own if the line below it is right. The functions are never run. The whole suite's check of types covers
// this file; the last test makes sure that it does, whichever way the tests were started.

import { assert, assertEquals } from "@std/assert";
import {
	arange,
	bernoulli,
	checkpoint,
	type Computed,
	defineOp,
	type Device,
	dropout,
	eye,
	full,
	grad,
	gradients,
	normal,
	ones,
	randint,
	scope,
	squeeze,
	Tensor,
	tensor,
	type Transformer,
	unsqueeze,
	zeros,
	type zerosLike,
} from "../../mod.ts";
import { swiglu } from "../../src/tensor/activation.ts";
import { cast } from "../../src/tensor/cast.ts";
import { embedding, gatherRows, oneHot, takeAlongAxis } from "../../src/tensor/gather.ts";
import { concatenate, split, stack } from "../../src/tensor/join.ts";
import { addLinear, linear } from "../../src/tensor/linear.ts";
import { matmul } from "../../src/tensor/matmul.ts";
import { addLayerNorm, rmsNorm } from "../../src/tensor/norm.ts";
import { rotary } from "../../src/tensor/rotary.ts";
import { configPath, root } from "../../tools/project.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
	: false;
/** Compiles only if the types are the same. */
function same<A, B>(..._: Equal<A, B> extends true ? [] : ["the types differ", A, B]): void {}

declare const device: Device;
declare const model: Transformer;
declare const scalar: Tensor<"float32", 0>;
declare const matrix: Tensor<"float32", 2>;
declare const vector: Tensor<"float32", 1>;
declare const cube: Tensor<"float32", 3>;
declare const half: Tensor<"bfloat16", 2>;
declare const ids: Tensor<"int32", 1>;

const promises: Record<string, () => void> = {
	"a constructor's type says dtype and rank": () => {
		const cube = Tensor.zeros<"int32", 3>(device, "int32", [1, 2, 3]);
		same<typeof cube, Tensor<"int32", 3>>();
		// @ts-expect-error: three extents are not two
		Tensor.zeros<"int32", 2>(device, "int32", [1, 2, 3]);
		// @ts-expect-error: the dtype named twice must be the same
		Tensor.zeros<"int32", 1>(device, "float32", [1]);
		// @ts-expect-error: no such dtype
		Tensor.zeros(device, "float16", [1]);
	},
	"data has the typed array of its dtype": async () => {
		same<Awaited<ReturnType<typeof matrix.data>>, Float32Array<ArrayBuffer>>();
		const bits: Uint16Array = await half.data();
		const wholes: Int32Array = ids.dataSync();
		// @ts-expect-error: bfloat16 comes as its bits
		const numbers: Float32Array = half.readNow();
		return [bits, wholes, numbers];
	},
	"extents of a known rank are numbers, and cannot be set": () => {
		const [rows, columns] = matrix.shape;
		same<typeof rows, number>();
		same<typeof columns, number>();
		// @ts-expect-error: a shape is read-only
		matrix.shape[0] = 3;
		// @ts-expect-error: so is the dtype
		matrix.dtype = "float32";
	},
	"a tensor of known rank or dtype is one of any": () => {
		const ofAnyRank: Tensor<"float32"> = matrix;
		const any: Tensor = half;
		// @ts-expect-error: not the other way round
		const known: Tensor<"float32", 2> = ofAnyRank;
		// @ts-expect-error: nor by dtype
		const single: Tensor<"float32"> = any;
		// @ts-expect-error: ranks differ
		const flat: Tensor<"float32", 1> = matrix;
		// @ts-expect-error: dtypes differ
		const exact: Tensor<"float32", 2> = half;
		return [known, single, flat, exact];
	},
	"views keep the dtype; reshape says the new rank, slice keeps it": () => {
		const flat = half.reshape([6]);
		same<typeof flat, Tensor<"bfloat16", 1>>();
		const rows = cube.slice(0, 1);
		same<typeof rows, Tensor<"float32", 3>>();
		same<ReturnType<typeof half.reshape<readonly [2, 3, 1]>>, Tensor<"bfloat16", 3>>();
		const table = vector.reshape([2, -1]);
		same<typeof table, Tensor<"float32", 2>>();
		// @ts-expect-error: two extents are not one
		const wrong: Tensor<"bfloat16", 1> = half.reshape([2, 3]);
		const extents: number[] = [2, 3];
		const some = half.reshape(extents);
		same<typeof some, Tensor<"bfloat16", number>>();
		const turned = cube.permute([2, 0, 1]).transpose(0, 1);
		same<typeof turned, Tensor<"float32", 3>>();
		const repeated = vector.expand([4, 3]);
		same<typeof repeated, Tensor<"float32", 2>>();
		const more = unsqueeze(matrix, 0), less = squeeze(matrix, 1);
		same<typeof more, Tensor<"float32", 3>>();
		same<typeof less, Tensor<"float32", 1>>();
		return wrong;
	},
	"a gradient has the type of its tensor": () => {
		same<typeof half.grad, Tensor<"bfloat16", 2> | null>();
		matrix.onGradient((gradient) => {
			same<typeof gradient, Tensor<"float32", 2>>();
		});
		// @ts-expect-error: a hook returns a gradient of the same type
		matrix.onGradient(() => vector);
		const [first, second] = gradients(scalar, [matrix, half]);
		same<typeof first, Tensor<"float32", 2> | null>();
		same<typeof second, Tensor<"bfloat16", 2> | null>();
		const slope = grad((_a: Tensor<"float32", 1>, _b: Tensor<"float32", 2>) => scalar);
		const [a, b] = slope(vector, matrix);
		same<typeof a, Tensor<"float32", 1> | null>();
		same<typeof b, Tensor<"float32", 2> | null>();
		// @ts-expect-error: the arguments are those of the function
		slope(matrix, vector);
		const kept = checkpoint((x: Tensor<"float32", 1>) => x.reshape([1, -1]), vector);
		same<typeof kept, Tensor<"float32", 2>>();
	},
	"an operation of one's own has the types that it says": () => {
		const op = defineOp("op", (x: Tensor<"float32", 2>, k: number) => ({
			result: x.reshape([k]),
			inputs: [x],
			saved: [x, ids],
			backward: (gradient, saved) => {
				same<typeof gradient, Tensor<"float32", 1>>();
				same<typeof saved, readonly [Tensor<"float32", 2>, Tensor<"int32", 1>]>();
				return [gradient];
			},
		}));
		const y = op(matrix, 3);
		same<typeof y, Tensor<"float32", 1>>();
		// @ts-expect-error: a vector
		op(vector, 3);
		const parts = defineOp(
			"parts",
			(x: Tensor<"float32", 2>): Computed<Tensor<"float32", 2>[], []> => ({
				result: [x, x],
				inputs: [x],
				backward: ([first]) => {
					same<typeof first, Tensor<"float32", 2> | null>();
					return [first];
				},
			}),
		)(matrix);
		same<typeof parts, Tensor<"float32", 2>[]>();
	},
	"linear takes a float32 matrix and a matrix of either type": () => {
		const y = linear(matrix, half);
		same<typeof y, Tensor<"float32", 2>>();
		linear(matrix, matrix);
		const ofVector = linear(vector, matrix), ofCube = linear(cube, half, { bias: vector });
		same<typeof ofVector, Tensor<"float32", 1>>();
		same<typeof ofCube, Tensor<"float32", 3>>();
		// @ts-expect-error: x is bfloat16
		linear(half, matrix);
		const rounded = linear(half, half, { dtype: "bfloat16" });
		same<typeof rounded, Tensor<"bfloat16", 2>>();
		// @ts-expect-error: a float32 weight gives float32
		linear(matrix, matrix, { dtype: "bfloat16" });
		const mixed = linear(half, matrix, { compute: "bfloat16", dtype: "bfloat16" });
		same<typeof mixed, Tensor<"bfloat16", 2>>();
		// @ts-expect-error: the weight has rank 3
		linear(matrix, cube);
		// @ts-expect-error: the weight holds whole numbers
		linear(matrix, ids);
		// @ts-expect-error: the sum is bfloat16
		addLinear(half, matrix, matrix);
		// @ts-expect-error: the sum has rank 1
		addLinear(vector, matrix, matrix);
	},
	"matmul has the rank of its factors": () => {
		const product = matmul(matrix, matrix), batch = matmul(matrix, cube);
		const column = matmul(cube, vector), number = matmul(vector, vector);
		same<typeof product, Tensor<"float32", 2>>();
		same<typeof batch, Tensor<"float32", 3>>();
		same<typeof column, Tensor<"float32", 2>>();
		same<typeof number, Tensor<"float32", 0>>();
		const wide = matmul(half, half), narrow = matmul(half, half, { dtype: "bfloat16" });
		same<typeof wide, Tensor<"float32", 2>>();
		same<typeof narrow, Tensor<"bfloat16", 2>>();
		// @ts-expect-error: one is bfloat16
		matmul(half, matrix);
		// @ts-expect-error: float32 factors give float32
		matmul(matrix, matrix, { dtype: "bfloat16" });
		// @ts-expect-error: whole numbers
		matmul(ids, ids);
	},
	"tensors are joined, taken apart and gathered with their rank": () => {
		const joined = concatenate([matrix, matrix], 1), stacked = stack([half, half]);
		same<typeof joined, Tensor<"float32", 2>>();
		same<typeof stacked, Tensor<"bfloat16", 3>>();
		const parts = split(cube, 3, -1), embedded = embedding(ids, half), marked = oneHot(ids, 9);
		same<typeof parts, Tensor<"float32", 3>[]>();
		same<typeof embedded, Tensor<"bfloat16", 2>>();
		same<typeof marked, Tensor<"float32", 2>>();
		const turned = rotary(cube, { cosine: matrix, sine: matrix });
		same<typeof turned, Tensor<"float32", 3>>();
		// @ts-expect-error: the tensors come as a list
		concatenate(matrix, matrix);
		// @ts-expect-error: indices are whole numbers
		takeAlongAxis(matrix, matrix, 1);
		// @ts-expect-error: the indices have another rank
		takeAlongAxis(matrix, ids, 1);
		// @ts-expect-error: ids come first
		embedding(half, ids);
		// @ts-expect-error: whole numbers do not turn
		rotary(ids, { cosine: matrix, sine: matrix });
	},
	"norms keep the rank": () => {
		const normed = rmsNorm(matrix, vector),
			rounded = rmsNorm(matrix, vector, { dtype: "bfloat16" });
		same<typeof normed, Tensor<"float32", 2>>();
		same<typeof rounded, Tensor<"bfloat16", 2>>();
		const [sum, ofSum] = addLayerNorm(cube, cube, vector, { bias: vector, dtype: "bfloat16" });
		same<typeof sum, Tensor<"float32", 3>>();
		same<typeof ofSum, Tensor<"bfloat16", 3>>();
		// @ts-expect-error: the branch has another rank
		addLayerNorm(cube, matrix, vector);
		// @ts-expect-error: the gain is a matrix
		rmsNorm(matrix, matrix);
		// @ts-expect-error: x is bfloat16
		rmsNorm(half, vector);
		// @ts-expect-error: ε is an option
		rmsNorm(matrix, vector, 1e-5);
	},
	"swiglu takes a matrix of floats": () => {
		const activated = swiglu(matrix), rounded = swiglu(matrix, "bfloat16");
		same<typeof activated, Tensor<"float32", 2>>();
		same<typeof rounded, Tensor<"bfloat16", 2>>();
		same<ReturnType<typeof swiglu<3>>, Tensor<"float32", 3>>();
		swiglu(half);
		// @ts-expect-error: whole numbers
		swiglu(ids);
	},
	"cast keeps the rank": () => {
		const down = cast(cube, "bfloat16");
		same<typeof down, Tensor<"bfloat16", 3>>();
		const up = cast(half, "float32");
		same<typeof up, Tensor<"float32", 2>>();
		// @ts-expect-error: to its own type
		cast(half, "bfloat16");
		const numbers = cast(ids, "float32");
		same<typeof numbers, Tensor<"float32", 1>>();
		// @ts-expect-error: whole numbers become float32 first
		cast(ids, "bfloat16");
	},
	"gatherRows keeps the table's dtype and wants int32 ids": () => {
		const rows = gatherRows(half, ids);
		same<typeof rows, Tensor<"bfloat16", 2>>();
		// @ts-expect-error: ids are a matrix
		gatherRows(half, matrix);
		// @ts-expect-error: ids are float32
		gatherRows(half, vector);
		// @ts-expect-error: the table has rank 3
		gatherRows(cube, ids);
	},
	"tensors of numbers have the rank of the lists": () => {
		same<ReturnType<typeof tensor<3>>, Tensor<"float32", 0>>();
		const x = tensor([[1, 2], [3, 4]]), y = tensor([1, 2], { dtype: "int32" });
		same<typeof x, Tensor<"float32", 2>>();
		same<typeof y, Tensor<"int32", 1>>();
		const list: number[][][] = [], typed = tensor([new Float32Array(3)]), deep = tensor(list);
		same<typeof typed, Tensor<"float32", 2>>();
		same<typeof deep, Tensor<"float32", 3>>();
		// @ts-expect-error: no numbers
		tensor(["1"]);
		// @ts-expect-error: no such dtype
		tensor([1], { dtype: "float16" });
	},
	"new tensors have the rank of their shape": () => {
		const a = zeros([2, 3]), b = full([4], 1, { dtype: "bfloat16" }), c = arange(3), d = eye(2);
		same<typeof a, Tensor<"float32", 2>>();
		same<typeof b, Tensor<"bfloat16", 1>>();
		same<typeof c, Tensor<"float32", 1>>();
		same<typeof d, Tensor<"float32", 2>>();
		same<ReturnType<typeof zerosLike<"bfloat16", 2>>, Tensor<"bfloat16", 2>>();
		const shape: number[] = [2, 3], e = ones(shape);
		same<typeof e, Tensor<"float32", number>>();
	},
	"random tensors have the rank of their shape, masks and whole numbers their own dtype": () => {
		const a = normal([2, 3], { dtype: "bfloat16" }), b = bernoulli([4], 0.5), c = randint([], 0, 9);
		same<typeof a, Tensor<"bfloat16", 2>>();
		same<typeof b, Tensor<"uint8", 1>>();
		same<typeof c, Tensor<"int32", 0>>();
		const dropped = dropout(half, 0.1);
		same<typeof dropped, Tensor<"bfloat16", 2>>();
		// @ts-expect-error: whole numbers cannot be normal
		normal([2], { dtype: "int32" });
		// @ts-expect-error: nor dropped
		dropout(ids, 0.1);
	},
	"a scope returns what its body returns": () => {
		const kept = scope(() => ({ a: matrix, b: [half] }));
		same<typeof kept, { a: Tensor<"float32", 2>; b: Tensor<"bfloat16", 2>[] }>();
	},
	"a model takes and gives typed tensors": async () => {
		const [h] = await model.forward([[1, 2, 3]]);
		same<typeof h, Tensor<"float32", 2>>();
		same<ReturnType<typeof model.logits>, Tensor<"float32", 2>>();
		// @ts-expect-error: a vector of hidden values
		model.logits(vector);
		// @ts-expect-error: sequences are lists of ids
		model.forward([1, 2, 3]);
		// @ts-expect-error: no such type of products
		model.forward([[1]], { dtype: "float16" });
	},
};

async function check(...files: string[]): Promise<{ success: boolean; text: string }> {
	const { success, stderr } = await new Deno.Command(Deno.execPath(), {
		args: ["check", "--quiet", "--config", configPath(), ...files],
		cwd: root,
		env: { NO_COLOR: "1" },
	}).output();
	return { success, text: new TextDecoder().decode(stderr) };
}

Deno.test("the type checker holds the promises of tensors and would see them broken", async () => {
	assert(Object.keys(promises).length > 0);
	const file = new URL(import.meta.url).pathname;
	const right = await check(file);
	assert(right.success, right.text);
	// A copy in which a wrong line is made right, so that nothing is left to expect there.
	const text = (await Deno.readTextFile(file)).replaceAll('from "../../', `from "file://${root}/`);
	const broken = await Deno.makeTempFile({ suffix: ".ts" });
	try {
		const changed = text.replace("linear(half, matrix);", "linear(matrix, matrix);");
		await Deno.writeTextFile(broken, changed);
		const { success, text: message } = await check(broken);
		assertEquals(success, false);
		assert(message.includes("Unused '@ts-expect-error' directive"), message);
		assertEquals(message.match(/TS\d+/g), ["TS2578"], message);
	} finally {
		await Deno.remove(broken);
	}
});

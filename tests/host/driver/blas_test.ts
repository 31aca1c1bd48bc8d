// Matrix products of the host driver, by columns as cuBLAS has them, against float64: odd shapes, all
// transposes, leading dimensions, batches, alpha and beta, and what is refused.

import { assertEquals } from "@std/assert";
import { fixedBuffer } from "../../../src/ffi/c_memory.ts";
import { cacheDirectory } from "../../../src/host/cache_directory.ts";
import { root } from "../../../tools/project.ts";
import { assertClose, bfloat16ToNumbers, numbersToBfloat16 } from "../../cuda/kernels/bench.ts";
import { Random, seed } from "../../random.ts";
import { thenBfloat16, TOLERANCE } from "../../tolerance.ts";
import { HostDriver } from "./driver.ts";

const host = await HostDriver.open();
const { driver, cublas } = host;
const stream = host.stream();
const handle = host.made((out) => cublas.cublasCreate_v2(out));
assertEquals(cublas.cublasSetStream_v2(handle, stream), 0);
const STATUS = { NOT_INITIALIZED: 1, INVALID_VALUE: 7, EXECUTION_FAILED: 13, NOT_SUPPORTED: 15 };
const TYPES = { float32: 0, bfloat16: 14 };
const random = new Random(77);

interface Product {
	m: number;
	n: number;
	k: number;
	transposeA?: boolean;
	transposeB?: boolean;
	input?: "float32" | "bfloat16";
	output?: "float32" | "bfloat16";
	alpha?: number;
	beta?: number;
	batch?: number;
	/** Added to the least leading dimensions. */
	gap?: number;
	/** Whether all entries of the batch use one B. */
	shareB?: boolean;
	/** What C holds before. */
	fillC?: number;
}

function check(product: Product) {
	const { m, n, k, input = "float32", output = "float32", alpha = 1, beta = 0 } = product;
	const { batch = 1, gap = 0, transposeA = false, transposeB = false, shareB = false } = product;
	const lda = (transposeA ? k : m) + gap, ldb = (transposeB ? n : k) + gap, ldc = m + gap;
	const strideA = lda * (transposeA ? m : k) + gap;
	const strideB = shareB ? 0 : ldb * (transposeB ? k : n) + gap;
	const strideC = ldc * n + gap;
	const draw = (length: number, type: "float32" | "bfloat16", fill?: number) => {
		const values = fill === undefined
			? random.normals(length)
			: new Float32Array(length).fill(fill);
		const bits = numbersToBfloat16(values);
		return type === "float32"
			? { values, stored: values }
			: { values: bfloat16ToNumbers(bits), stored: bits };
	};
	const a = draw(Math.max(1, strideA * batch), input);
	const b = draw(Math.max(1, shareB ? ldb * (transposeB ? k : n) : strideB * batch), input);
	const c = draw(strideC * batch, output, product.fillC);
	const pointers = [a, b, c].map(({ stored }) => host.upload(stored, stream));
	const factor = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
	assertEquals(
		cublas.cublasGemmStridedBatchedEx(
			handle,
			Number(transposeA),
			Number(transposeB),
			m,
			n,
			k,
			factor(alpha),
			pointers[0],
			TYPES[input],
			Math.max(1, lda),
			strideA,
			pointers[1],
			TYPES[input],
			Math.max(1, ldb),
			strideB,
			factor(beta),
			pointers[2],
			TYPES[output],
			ldc,
			strideC,
			batch,
			68,
			-1,
		),
		0,
	);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	const stored = output === "float32"
		? host.read(new Float32Array(c.values.length), pointers[2])
		: bfloat16ToNumbers(host.read(new Uint16Array(c.values.length), pointers[2]));
	const expected = Float64Array.from(c.values); // what lies between columns stays as it was
	const sizes = new Float64Array(c.values.length);
	for (let i = 0; i < batch; i++) {
		for (let column = 0; column < n; column++) {
			for (let row = 0; row < m; row++) {
				let sum = 0, size = 0;
				for (let inner = 0; inner < k; inner++) {
					const x = a.values[i * strideA + (transposeA ? inner + row * lda : row + inner * lda)];
					const y =
						b.values[i * strideB + (transposeB ? column + inner * ldb : inner + column * ldb)];
					sum += x * y;
					size += Math.abs(x * y);
				}
				const at = i * strideC + row + column * ldc;
				expected[at] = alpha * sum + (beta === 0 ? 0 : beta * c.values[at]);
				sizes[at] = Math.abs(alpha) * size + Math.abs(beta === 0 ? 0 : beta * c.values[at]);
			}
		}
	}
	const tolerance = TOLERANCE.product(k);
	const what = `${JSON.stringify(product)} (OUTLIERSCOPE_SEED=${seed})`;
	assertClose(
		stored,
		expected,
		output === "float32" ? tolerance : thenBfloat16(tolerance),
		what,
		sizes,
	);
	for (const pointer of pointers) driver.cuMemFreeAsync(pointer, stream);
}

for (const input of ["float32", "bfloat16"] as const) {
	Deno.test(`products of ${input} equal the sums, at odd shapes and all transposes`, () => {
		for (const transposeA of [false, true]) {
			for (const transposeB of [false, true]) {
				for (const [m, n, k] of [[1, 1, 1], [2, 1, 3], [1, 33, 31], [65, 2, 1], [63, 65, 127]]) {
					check({ m, n, k, transposeA, transposeB, input });
					check({ m, n, k, transposeA, transposeB, input, gap: 3, alpha: 0.5, beta: 1 });
				}
				check({ m: 33, n: 5, k: 577, transposeA, transposeB, input, batch: 3, gap: 1 });
			}
		}
	});

	Deno.test(`batches of ${input} may share an operand`, () => {
		check({ m: 7, n: 9, k: 33, batch: 4, shareB: true, input });
		check({ m: 64, n: 3, k: 64, batch: 3, shareB: true, transposeA: true, input, beta: 1 });
	});

	Deno.test(`alpha and beta scale ${input}, and beta 0 does not read C`, () => {
		check({ m: 5, n: 6, k: 7, input, alpha: -2, beta: 0.5 });
		check({ m: 5, n: 6, k: 7, input, alpha: 1, beta: 0, fillC: NaN });
		check({ m: 5, n: 6, k: 7, input, alpha: 0.25, beta: 0, fillC: Infinity, batch: 2 });
	});

	Deno.test(`a product of ${input} over nothing is beta · C`, () => {
		check({ m: 5, n: 3, k: 0, input, beta: 0.5, gap: 2, batch: 2 });
		check({ m: 5, n: 3, k: 0, input, beta: 0, fillC: NaN });
		check({ m: 5, n: 3, k: 0, input, output: "bfloat16", beta: 0.3 });
	});
}

Deno.test("a result is rounded to bfloat16 where asked", () => {
	check({ m: 33, n: 5, k: 65, input: "bfloat16", output: "bfloat16", gap: 1 });
});

Deno.test("what cuBLAS refuses is refused with its status", () => {
	const x = host.upload(new Float32Array(64), stream);
	const one = new Uint8Array(Float32Array.of(1).buffer);
	// deno-lint-ignore no-explicit-any
	const good: any[] = [
		handle,
		0,
		0,
		4,
		4,
		4,
		one,
		x,
		0,
		4,
		16,
		x,
		0,
		4,
		16,
		one,
		x,
		0,
		4,
		16,
		1,
		68,
		-1,
	];
	// deno-lint-ignore no-explicit-any
	const status = (changes: Record<number, any>) => {
		const args = [...good];
		for (const [place, value] of Object.entries(changes)) args[Number(place)] = value;
		return (cublas.cublasGemmStridedBatchedEx as (...args: unknown[]) => number)(...args);
	};
	assertEquals(status({}), 0);
	assertEquals(status({ 0: handle + 8 }), STATUS.NOT_INITIALIZED);
	for (const changes of [{ 3: -1 }, { 4: -1 }, { 5: -1 }, { 20: -1 }, { 6: null }, { 15: null }]) {
		assertEquals(status(changes), STATUS.INVALID_VALUE, JSON.stringify(changes));
	}
	for (const place of [9, 13, 18]) {
		assertEquals(status({ [place]: 3 }), STATUS.INVALID_VALUE, "a leading dimension too small");
	}
	assertEquals(status({ 8: 14 }), STATUS.NOT_SUPPORTED, "types that differ");
	assertEquals(status({ 21: 64 }), STATUS.NOT_SUPPORTED, "another compute type");
	assertEquals(status({ 21: 77 }), 0, "TF32, of float32");
	assertEquals(status({ 21: 77, 8: 14, 12: 14 }), STATUS.NOT_SUPPORTED, "TF32, of bfloat16");
	assertEquals(status({ 1: 2 }), STATUS.NOT_SUPPORTED, "a conjugate transpose");
	for (const place of [7, 11, 16]) {
		assertEquals(status({ [place]: x + 4 * 49 }), STATUS.EXECUTION_FAILED, "memory too short");
	}
	assertEquals(status({ 20: 5 }), STATUS.EXECUTION_FAILED, "a batch too long");
	for (const place of [3, 4, 20]) assertEquals(status({ [place]: 0 }), 0, "nothing to do");
	assertEquals(cublas.cublasCreate_v2(null), STATUS.INVALID_VALUE);
	assertEquals(cublas.cublasSetStream_v2(handle + 8, stream), STATUS.NOT_INITIALIZED);
	assertEquals(cublas.cublasDestroy_v2(handle + 8), STATUS.NOT_INITIALIZED);
	assertEquals(cublas.cublasGetVersion_v2(handle, fixedBuffer(4)), 0);
	assertEquals(driver.cuStreamSynchronize(stream), 0);
	driver.cuMemFreeAsync(x, stream);
});

Deno.test("products and softmax compile against the headers of oneDNN 3, and against those that are used", async () => {
	const version = /^onednn3_version=(\S+)/m.exec(await Deno.readTextFile(`${root}/dev`))![1];
	const installed = `${cacheDirectory()}/onednn/${version}/include`; // set up by ./dev test
	const versions = [["== 3", ["-I", installed]], [">= 2", []]] as const;
	const units = ["blas.cpp", "dnn.cpp"];
	const cases = units.flatMap((unit) => versions.map((version) => [unit, ...version] as const));
	for (const [unit, wanted, flags] of cases) {
		const child = new Deno.Command(Deno.env.get("CXX") || "g++", {
			args: [
				..."-std=c++17 -fsyntax-only -Wall -Wextra -Werror -fopenmp -x c++".split(" "),
				...flags,
				"-",
			],
			stdin: "piped",
			stdout: "null",
			stderr: "piped",
		}).spawn();
		const stdin = child.stdin.getWriter();
		await stdin.write(new TextEncoder().encode(`
      #include <oneapi/dnnl/dnnl_version.h>
      static_assert(DNNL_VERSION_MAJOR ${wanted}, "another version of oneDNN");
      #include "${root}/src/host/driver/${unit}"`));
		await stdin.close();
		assertEquals(new TextDecoder().decode((await child.output()).stderr), "");
	}
});

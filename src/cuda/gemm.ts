// Matrix products of row-major matrices by cuBLAS, which counts by columns: a row-major matrix is the
// transpose of a column-major one, so C = A·B is computed as Cᵀ = Bᵀ·Aᵀ over the same memory.

import type { Device } from "./device.ts";

/** Types a product's operands can have; sums are always float32. */
export type GemmType = "float32" | "bfloat16";

/** One operand: a row-major matrix, or one a batch entry. */
export interface GemmOperand {
	/** Device pointer of the first element. */
	pointer: number;
	/** Elements from one row to the next. */
	rowStride: number;
	/** Elements from one matrix of the batch to the next; 0 (the default) uses one for all. */
	batchStride?: number;
}

/** C = alpha · A · B + beta · C, or with Aᵀ or Bᵀ. */
export interface Gemm {
	/** [rows, inner], or [inner, rows] with `transposeA`. */
	a: GemmOperand;
	/** [inner, columns], or [columns, inner] with `transposeB`. */
	b: GemmOperand;
	/** [rows, columns] */
	c: GemmOperand;
	/** Rows of C. */
	rows: number;
	/** Columns of C. */
	columns: number;
	/** Columns of A. */
	inner: number;
	/** Number of products. @default {1} */
	batch?: number;
	/** Whether A is stored transposed. @default {false} */
	transposeA?: boolean;
	/** Whether B is stored transposed. @default {false} */
	transposeB?: boolean;
	/** @default {1} */
	alpha?: number;
	/** @default {0} */
	beta?: number;
	/** Type of A and B. */
	input: GemmType;
	/** Type of C. @default {"float32"} */
	output?: GemmType;
	/**
	 * Whether float32 inputs may be rounded to TF32, 10 bits behind the leading one, where the device
	 * multiplies those much faster. The host never does. @default {false}
	 */
	tf32?: boolean;
}

const CUBLAS_OP_N = 0;
const CUBLAS_OP_T = 1;
const CUDA_TYPES: Record<GemmType, number> = { float32: 0, bfloat16: 14 };
const CUBLAS_COMPUTE_32F = 68;
const CUBLAS_COMPUTE_32F_FAST_TF32 = 77;
const CUBLAS_GEMM_DEFAULT = -1;

const alphaBuffer = new Float32Array(new ArrayBuffer(4));
const betaBuffer = new Float32Array(new ArrayBuffer(4));
const alphaBytes = new Uint8Array(alphaBuffer.buffer);
const betaBytes = new Uint8Array(betaBuffer.buffer);

/** Queues a matrix product. */
export function gemm(device: Device, product: Gemm): void {
	const { a, b, c, rows, columns, inner, input } = product;
	alphaBuffer[0] = product.alpha ?? 1;
	betaBuffer[0] = product.beta ?? 0;
	const inputType = CUDA_TYPES[input];
	const batch = product.batch ?? 1;
	const code = device.libraries.cublas.cublasGemmStridedBatchedEx(
		device.blas,
		product.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N,
		product.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N,
		columns,
		rows,
		inner,
		alphaBytes,
		BigInt(b.pointer),
		inputType,
		b.rowStride,
		BigInt(b.batchStride ?? 0),
		BigInt(a.pointer),
		inputType,
		a.rowStride,
		BigInt(a.batchStride ?? 0),
		betaBytes,
		BigInt(c.pointer),
		CUDA_TYPES[product.output ?? "float32"],
		c.rowStride,
		BigInt(c.batchStride ?? 0),
		batch,
		product.tf32 && input === "float32" ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
		CUBLAS_GEMM_DEFAULT,
	);
	if (code !== 0) {
		const context = `product of ${rows}×${inner} and ${inner}×${columns}, batch ${batch}, ${input}`;
		device.checkBlas("cublasGemmStridedBatchedEx", code, context);
	}
}

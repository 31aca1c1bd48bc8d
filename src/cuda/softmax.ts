// Softmax over the rows of a float32 matrix by cuDNN, forward and backward: what kernels of this library
// are compared with. cuDNN is loaded at the first use.

import { OutParameter } from "../ffi/c_memory.ts";
import type { Device } from "./device.ts";
import { checkCudnn } from "./errors.ts";

const CUDNN_TENSOR_NCHW = 0;
const CUDNN_DATA_FLOAT = 0;
const CUDNN_SOFTMAX_ACCURATE = 1;
const CUDNN_SOFTMAX_MODE_INSTANCE = 0;

const one = new Uint8Array(Float32Array.of(1).buffer);
const zero = new Uint8Array(Float32Array.of(0).buffer);

/** A device's handle of cuDNN, and the one descriptor that all calls use. */
interface Context {
	handle: bigint;
	descriptor: bigint;
}

const contexts = new WeakMap<Device, Context>();

function contextOf(device: Device): Context {
	const known = contexts.get(device);
	if (known) return known;
	const { libraries } = device;
	const cudnn = libraries.cudnn();
	const out = new OutParameter();
	checkCudnn(libraries, "cudnnCreate", cudnn.cudnnCreate(out.buffer));
	const handle = out.handle;
	checkCudnn(
		libraries,
		"cudnnCreateTensorDescriptor",
		cudnn.cudnnCreateTensorDescriptor(out.buffer),
	);
	const context = { handle, descriptor: out.handle };
	contexts.set(device, context);
	return context;
}

/** Sets the handle to the current stream and the descriptor to a shape. */
function describe(device: Device, rows: number, columns: number): Context {
	const context = contextOf(device);
	const cudnn = device.libraries.cudnn();
	checkCudnn(
		device.libraries,
		"cudnnSetStream",
		cudnn.cudnnSetStream(context.handle, device.stream),
	);
	checkCudnn(
		device.libraries,
		"cudnnSetTensor4dDescriptor",
		cudnn.cudnnSetTensor4dDescriptor(
			context.descriptor,
			CUDNN_TENSOR_NCHW,
			CUDNN_DATA_FLOAT,
			rows,
			columns,
			1,
			1,
		),
		`a matrix of ${rows}×${columns}`,
	);
	return context;
}

/**
 * Queues y = softmax of each row of x. Both are float32 [rows, columns]; y may be x.
 *
 * @throws {LibraryError} if cuDNN is not installed
 */
export function softmax(
	device: Device,
	rows: number,
	columns: number,
	x: number,
	y: number,
): void {
	const { handle, descriptor } = describe(device, rows, columns);
	checkCudnn(
		device.libraries,
		"cudnnSoftmaxForward",
		device.libraries.cudnn().cudnnSoftmaxForward(
			handle,
			CUDNN_SOFTMAX_ACCURATE,
			CUDNN_SOFTMAX_MODE_INSTANCE,
			one,
			descriptor,
			x,
			zero,
			descriptor,
			y,
		),
		`a matrix of ${rows}×${columns}`,
	);
}

/**
 * Queues dx = y · (dy − Σ y · dy) of each row: the gradient of softmax at its result y. All are float32
 * [rows, columns].
 *
 * @throws {LibraryError} if cuDNN is not installed
 */
export function softmaxBackward(
	device: Device,
	rows: number,
	columns: number,
	y: number,
	dy: number,
	dx: number,
): void {
	const { handle, descriptor } = describe(device, rows, columns);
	checkCudnn(
		device.libraries,
		"cudnnSoftmaxBackward",
		device.libraries.cudnn().cudnnSoftmaxBackward(
			handle,
			CUDNN_SOFTMAX_ACCURATE,
			CUDNN_SOFTMAX_MODE_INSTANCE,
			one,
			descriptor,
			y,
			descriptor,
			dy,
			zero,
			descriptor,
			dx,
		),
		`a matrix of ${rows}×${columns}`,
	);
}

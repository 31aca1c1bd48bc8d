// The part of Python's pickle format that describes tensors and plain data. A pickle is a program that may call any
// function; here it can call three, which are written below, and nothing is looked up by name.

import type { SafetensorsType } from "./safetensors_header.ts";

/** A tensor as a checkpoint describes it. */
export class PickledTensor {
	/** Describes a tensor in elements of its storage. */
	constructor(
		/** Element type. */
		readonly type: SafetensorsType,
		/** The storage's name. */
		readonly storage: string,
		/** Elements of the storage. */
		readonly storageLength: number,
		/** Where it begins. */
		readonly offset: number,
		/** Extents. */
		readonly shape: number[],
		/** Steps of its axes. */
		readonly strides: number[],
	) {}
}

/** Plain data: dictionaries are maps, tuples are lists. */
export type PickleValue =
	| null
	| boolean
	| number
	| bigint
	| string
	| PickledTensor
	| PickleValue[]
	| Map<PickleValue, PickleValue>;

/** The element type of each kind of storage. */
const STORAGES: Record<string, SafetensorsType> = {
	DoubleStorage: "F64",
	FloatStorage: "F32",
	HalfStorage: "F16",
	BFloat16Storage: "BF16",
	LongStorage: "I64",
	IntStorage: "I32",
	ShortStorage: "I16",
	CharStorage: "I8",
	ByteStorage: "U8",
	BoolStorage: "BOOL",
};

class Storage {
	constructor(readonly type: SafetensorsType, readonly key: string, readonly length: number) {}
}
/** A name that the program may use, with what a call of it gives. */
class Global {
	constructor(readonly name: string, readonly call?: (args: Value[]) => Value | undefined) {}
}
type Value = PickleValue | Storage | Global | Value[] | Map<Value, Value>;

const isCount = (value: unknown): value is number =>
	Number.isSafeInteger(value) && value as number >= 0;
const isCounts = (value: unknown): value is number[] =>
	Array.isArray(value) && value.every(isCount);

/** torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) */
function rebuildTensor([storage, offset, shape, strides]: Value[]): Value | undefined {
	if (!(storage instanceof Storage) || !isCount(offset)) return undefined;
	if (!isCounts(shape) || !isCounts(strides) || shape.length !== strides.length) return undefined;
	const { type, key, length } = storage;
	return new PickledTensor(type, key, length, offset, shape, strides);
}

const GLOBALS: Global[] = [
	new Global("torch._utils._rebuild_tensor_v2", rebuildTensor),
	new Global(
		"torch._utils._rebuild_parameter",
		([tensor]) => tensor instanceof PickledTensor ? tensor : undefined,
	),
	new Global("collections.OrderedDict", (args) => args.length === 0 ? new Map() : undefined),
	...Object.keys(STORAGES).map((name) => new Global(`torch.${name}`)),
];
const MARK = Symbol("mark");
const MAX_CONTAINERS = 2 ** 20; // six belong to a tensor

/**
 * Runs a pickle of tensors and plain data.
 *
 * @param fail throws the error of a problem
 * @returns what it describes
 */
export function readPickle(bytes: Uint8Array, fail: (problem: string) => never): PickleValue {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	const decoder = new TextDecoder("utf-8", { fatal: true });
	const stack: (Value | typeof MARK)[] = [], memo = new Map<number, Value>();
	let at = 0, containers = 0;
	const damaged = (): never => fail(`its pickle is damaged at byte ${at}`);
	const skip = (count: number) => {
		if (count > bytes.length - at) damaged();
		at += count;
		return at - count;
	};
	const text = (length: number): string => {
		const start = skip(length);
		try {
			return decoder.decode(bytes.subarray(start, at));
		} catch {
			return damaged();
		}
	};
	const line = () => {
		const end = bytes.indexOf(10, at);
		if (end < 0) damaged();
		const value = text(end - at);
		at++;
		return value;
	};
	const pop = (): Value => {
		const value = stack.pop();
		return value === undefined || value === MARK ? damaged() : value as Value;
	};
	const marked = (): Value[] => {
		const mark = stack.lastIndexOf(MARK);
		if (mark < 0) damaged();
		const values = stack.splice(mark) as Value[];
		return values.slice(1);
	};
	const top = () => stack.at(-1);
	const store = (key: number) => {
		const value = top();
		if (value === undefined || value === MARK) damaged();
		memo.set(key, value as Value);
	};
	const recall = (key: number) => stack.push(memo.has(key) ? memo.get(key)! : damaged());
	const named = (module: string, name: string) => {
		const full = `${module}.${name}`;
		const global = GLOBALS.find((known) => known.name === full);
		if (!global) {
			fail(
				`it asks for the Python object ${JSON.stringify(full.slice(0, 80))}, which may run code`,
			);
		}
		stack.push(global);
	};
	const add = (values: Value[]) => {
		const list = top();
		if (!Array.isArray(list)) return damaged();
		for (const value of values) list.push(value as never);
	};
	const set = (values: Value[]) => {
		const map = top();
		if (!(map instanceof Map) || values.length % 2) return damaged();
		for (let i = 0; i < values.length; i += 2) map.set(values[i] as never, values[i + 1] as never);
	};
	const contain = (container: Value) => {
		if (++containers > MAX_CONTAINERS) {
			fail(`its pickle has more than ${MAX_CONTAINERS} containers`);
		}
		stack.push(container);
	};
	const tuple = (count: number) => contain(Array.from({ length: count }, pop).reverse());
	const big = (length: number) => {
		if (length > 8) fail(`a number in its pickle has ${length} bytes, at most 8 are read`);
		let value = 0n;
		const start = skip(length);
		for (let i = length; i-- > 0;) value = value << 8n | BigInt(bytes[start + i]!);
		value = BigInt.asIntN(8 * length, value);
		stack.push(Number.isSafeInteger(Number(value)) ? Number(value) : value);
	};
	const persistent = () => {
		const id = pop();
		if (!Array.isArray(id) || id.length < 5) return damaged();
		const [kind, storage, key, , length] = id;
		if (kind !== "storage" || !(storage instanceof Global) || typeof key !== "string") {
			return damaged();
		}
		const type = STORAGES[storage.name.replace("torch.", "")];
		if (type === undefined || !isCount(length)) return damaged();
		stack.push(new Storage(type, key, length));
	};
	const reduce = () => {
		const args = pop(), callee = pop();
		if (!(callee instanceof Global) || !Array.isArray(args)) return damaged();
		const made = callee.call?.(args);
		if (made === undefined) fail(`it calls ${callee.name} as no tensor or dictionary needs it`);
		contain(made);
	};

	const operations: Record<number, () => unknown> = {
		0x80: () => skip(1), // protocol
		0x95: () => skip(8), // frame
		0x28: () => stack.push(MARK),
		0x29: () => contain([]),
		0x5d: () => contain([]),
		0x7d: () => contain(new Map()),
		0x4e: () => stack.push(null),
		0x88: () => stack.push(true),
		0x89: () => stack.push(false),
		0x4a: () => stack.push(view.getInt32(skip(4), true)),
		0x4b: () => stack.push(view.getUint8(skip(1))),
		0x4d: () => stack.push(view.getUint16(skip(2), true)),
		0x47: () => stack.push(view.getFloat64(skip(8))),
		0x8a: () => big(view.getUint8(skip(1))),
		0x58: () => stack.push(text(view.getUint32(skip(4), true))),
		0x8c: () => stack.push(text(view.getUint8(skip(1)))),
		0x71: () => store(view.getUint8(skip(1))),
		0x72: () => store(view.getUint32(skip(4), true)),
		0x94: () => store(memo.size),
		0x68: () => recall(view.getUint8(skip(1))),
		0x6a: () => recall(view.getUint32(skip(4), true)),
		0x63: () => named(line(), line()),
		0x93: () => {
			const name = pop(), module = pop();
			named(String(module), String(name));
		},
		0x74: () => contain(marked()),
		0x85: () => tuple(1),
		0x86: () => tuple(2),
		0x87: () => tuple(3),
		0x61: () => add([pop()]),
		0x65: () => add(marked()),
		0x73: () => set([pop(), pop()].reverse()),
		0x75: () => set(marked()),
		0x51: persistent,
		0x52: reduce,
		0x62: () => { // attributes of a dictionary, such as the versions of its modules: of no use here
			pop();
			if (!(top() instanceof Map)) damaged();
		},
	};
	while (true) {
		const code = view.getUint8(skip(1));
		if (code === 0x2e) break;
		const operation = operations[code];
		if (!operation) fail(`its pickle has the operation 0x${code.toString(16)}, which may run code`);
		operation();
	}
	const result = pop();
	if (result instanceof Storage || result instanceof Global) return damaged();
	return result as PickleValue;
}

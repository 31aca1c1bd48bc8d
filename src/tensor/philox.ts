// Philox4x32-10, the generator of random.cu, in plain TypeScript: for random numbers that are needed here
// and not on the device, and as the reference of the kernels' tests.

/** A seed and the number of a draw from it: what an element of a random tensor depends on beside its index. */
export interface Draw {
	/** From 0 to 2⁵³ - 1. */
	readonly seed: number;
	/** From 0 to 2⁵³ - 1. */
	readonly offset: number;
}

/** The upper 32 bits of the product of two numbers below 2³². */
function highProduct(x: number, y: number): number {
	const low = Math.floor(x * (y & 0xffff) / 2 ** 16);
	return Math.floor((x * (y >>> 16) + low) / 2 ** 16);
}

/**
 * Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * @param counter four numbers below 2³²
 * @param key two
 * @returns four random ones
 */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
	let [a, b, c, d] = counter as [number, number, number, number];
	let [key0, key1] = key as [number, number];
	for (let round = 0; round < 10; round++) {
		const high0 = highProduct(a, 0xd2511f53), low0 = Math.imul(a, 0xd2511f53) >>> 0;
		const high1 = highProduct(c, 0xcd9e8d57), low1 = Math.imul(c, 0xcd9e8d57) >>> 0;
		[a, b, c, d] = [(high1 ^ b ^ key0) >>> 0, low1, (high0 ^ d ^ key1) >>> 0, low0];
		key0 = (key0 + 0x9e3779b9) >>> 0;
		key1 = (key1 + 0xbb67ae85) >>> 0;
	}
	return [a, b, c, d];
}

const halves = (value: number): [number, number] => [value >>> 0, Math.floor(value / 2 ** 32)];

/** The four words of a block of a draw. */
export function drawBlock(draw: Draw, block: number): number[] {
	return philox([...halves(block), ...halves(draw.offset)], halves(draw.seed));
}

/**
 * The word of each element of a draw, in the order of the kernels: in a tile of 128, element i is word
 * ⌊i / 32⌋ of block i mod 32.
 */
export function drawWords(draw: Draw, count: number): Uint32Array<ArrayBuffer> {
	const words = new Uint32Array(Math.ceil(count / 128) * 128);
	for (let block = 0; block * 4 < words.length; block++) {
		const first = Math.floor(block / 32) * 128 + block % 32;
		drawBlock(draw, block).forEach((word, i) => words[first + 32 * i] = word);
	}
	return words.subarray(0, count);
}

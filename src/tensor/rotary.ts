// Rotary positions: pairs of features turn by angles that grow with the position (Su et al., "RoFormer", 2021).

import { defineOp } from "./autograd/define_op.ts";
import { contiguous } from "./contiguous.ts";
import type { FloatType } from "./dtype.ts";
import { elements } from "./strides.ts";
import { Tensor } from "./tensor.ts";
import { resolveAxis } from "./views.ts";

/** Cosines and sines of the angles of each position and pair. */
export interface RotaryAngles {
	/** [T or more, pairs] */
	readonly cosine: Tensor<"float32", 2>;
	/** [T or more, pairs] */
	readonly sine: Tensor<"float32", 2>;
}

/** Options of {@linkcode rotary}. */
export interface RotaryOptions {
	/**
	 * Which features turn together: i and i + pairs ("halves", as in GPT-NeoX and Hugging Face's LLaMA), or 2i and
	 * 2i + 1 ("adjacent", as in the paper and GPT-J). @default {"halves"}
	 */
	pairing?: "halves" | "adjacent";
	/** Position of the first token. @default {0} */
	first?: number;
	/** The axis of tokens. @default {-2} */
	axis?: number;
}

function launch(
	x: Tensor<FloatType>,
	[cosine, sine]: readonly [Tensor, Tensor],
	axis: number,
	adjacent: boolean,
	direction: number,
): Tensor<FloatType> {
	const { device, dtype, shape } = x, from = contiguous(x);
	const y = Tensor.empty<FloatType, number>(device, dtype, shape);
	const product = (begin: number, end: number) => elements(shape.slice(begin, end));
	const rows = product(0, -1);
	device.kernel(`rotate_${dtype}`).overRows(
		rows,
		y.pointer,
		from.pointer,
		cosine.pointer,
		sine.pointer,
		rows,
		shape[axis]!,
		product(axis + 1, -1),
		shape.at(-1)!,
		cosine.shape[1]!,
		Number(adjacent),
		direction,
	);
	return y;
}

const rotaryOp = defineOp(
	"rotary",
	(x: Tensor<FloatType>, cosine: Tensor, sine: Tensor, axis: number, adjacent: boolean) => {
		const angles = [contiguous(cosine), contiguous(sine)] as const;
		return {
			result: launch(x, angles, axis, adjacent, 1) as Tensor,
			inputs: [x],
			saved: angles,
			backward: (gradient, angles) => [
				launch(gradient as Tensor<FloatType>, angles, axis, adjacent, -1), // the inverse is the transpose
			],
		};
	},
);

/**
 * Turns pairs of features by the angles of their token's position: (a, b) becomes (a cos - b sin, b cos + a sin).
 * Features beyond the angles' pairs stay as they are.
 *
 * @param x [..., T, d], or with the tokens at another axis but the last; no gradient flows to the angles
 * @param angles for T tokens or more, and up to d/2 pairs
 * @returns of x's shape and dtype
 * @throws {RangeError} if the angles do not suffice, or are of more pairs
 */
export function rotary<D extends FloatType, R extends number>(
	x: Tensor<D, R>,
	{ cosine, sine }: RotaryAngles,
	{ pairing = "halves", first = 0, axis = -2 }: RotaryOptions = {},
): Tensor<D, R> {
	const along = resolveAxis("rotary", x.shape, axis), tokens = x.shape[along]!;
	const [positions, pairs] = cosine.shape;
	const fits = `${sine.shape}` === `${cosine.shape}` && along !== x.shape.length - 1 &&
		Number.isInteger(first) && first >= 0 && first + tokens <= positions &&
		2 * pairs <= x.shape.at(-1)!;
	if (!fits) {
		throw new RangeError(
			`Cannot compute rotary of [${x.shape}] with ${tokens} tokens at axis ${axis} from position ${first} on ` +
				`by cosines [${cosine.shape}] and sines [${sine.shape}]: they must be of ${
					first + tokens
				} positions or ` +
				`more, and at most ${Math.floor(x.shape.at(-1)! / 2)} pairs`,
		);
	}
	using c = cosine.asStrided<2>([tokens, pairs], cosine.strides, first * cosine.strides[0]!);
	using s = sine.asStrided<2>([tokens, pairs], sine.strides, first * sine.strides[0]!);
	return rotaryOp(x, c, s, along, pairing === "adjacent") as Tensor as Tensor<D, R>;
}

// How models stretch their contexts: factors that the frequencies of rotary positions are divided by.

import type { ConfigJson } from "../formats/config_json.ts";

/** Base and factors as config.json has them. */
export interface RotaryScaling {
	/** θ */
	base: number;
	/** What each pair's frequency is divided by. */
	factors?: number[];
}

/**
 * Reads base and scaling: `rope_theta` and `rope_scaling`, or `rope_parameters` that holds both.
 *
 * @param dimensions how many features of a head turn
 * @throws {ConfigError} if the scaling is of a kind that is not supported
 */
export function rotaryFactors(json: ConfigJson, dimensions: number): RotaryScaling {
	const scaling = json.object(json.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
	const base = scaling.number("rope_theta", json.number("rope_theta", 10000));
	const kind = scaling.string("rope_type", scaling.string("type", "default"));
	if (kind === "default") return { base };
	const pairs = Array.from({ length: dimensions / 2 }, (_, i) => i);
	if (kind === "linear") {
		const factor = scaling.number("factor");
		return { base, factors: pairs.map(() => factor) };
	}
	if (kind === "llama3") {
		const factor = scaling.number("factor");
		const low = scaling.number("low_freq_factor"), high = scaling.number("high_freq_factor");
		const context = scaling.number("original_max_position_embeddings");
		// Wavelengths that the original context holds often enough stay, those it holds hardly once are stretched by
		// the factor, and in between the frequency is a mixture of both.
		return {
			base,
			factors: pairs.map((i) => {
				const wavelength = 2 * Math.PI * base ** (2 * i / dimensions);
				const turns = context / wavelength;
				if (turns > high) return 1;
				if (turns < low) return factor;
				const share = (turns - low) / (high - low);
				return 1 / ((1 - share) / factor + share);
			}),
		};
	}
	throw json.error(
		`its rotary scaling "${kind}" is not supported; "default", "linear" and "llama3" are`,
	);
}

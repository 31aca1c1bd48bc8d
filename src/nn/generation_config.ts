// generation_config.json: how a model's makers want its tokens to be chosen.

import { ConfigJson } from "../formats/config_json.ts";
import { checkSampling, type GenerationDefaults } from "./sampling.ts";

/** The number of likeliest tokens that `transformers` samples from where nothing is said. */
const USUAL_TOP_K = 50;

/**
 * Reads generation_config.json.
 *
 * @throws {ConfigError} if a setting is of another kind or out of range
 */
export async function readGenerationConfig(path: string): Promise<GenerationDefaults> {
	const json = await ConfigJson.open(path), sampled = json.boolean("do_sample", false);
	const topK = json.has("top_k") ? json.whole("top_k") : sampled ? USUAL_TOP_K : 0;
	const defaults: GenerationDefaults = {
		stop: json.wholes("eos_token_id"),
		...sampled && { temperature: json.number("temperature", 1) },
		...topK > 0 && { topK },
		...json.has("top_p") && { topP: json.number("top_p") },
	};
	try {
		checkSampling(defaults);
	} catch (error) {
		throw json.error(`it cannot be followed: ${(error as Error).message}`);
	}
	return defaults;
}

// Matrices of layers as taps: the parts of a fused one have their own, such as layers.3.attn.query.weight.

import { cast, type FloatType, noGrad, type Tensor } from "../tensor/mod.ts";
import type { TransformerConfig } from "./config.ts";
import { partsOf } from "./parameters.ts";
import type { Probes } from "./probe.ts";

function tapsOf(config: TransformerConfig, name: string): { name: string; rows?: number }[] {
	const base = name.replace(/\.weight$/, ""), parts = partsOf(config, base);
	if (base === name || parts.length === 0) return [{ name }];
	return parts.map((part) => ({ name: `${part.name}.weight`, rows: part.rows }));
}

/** Whether some probe takes a parameter of a layer, or a part of it. */
export function wantsWeight(
	config: TransformerConfig,
	name: string,
	layer: number,
	probes: Probes,
): boolean {
	return tapsOf(config, name).some((tap) => probes.wants(tap.name, layer));
}

/** Whether some probe changes a parameter of a layer, or a part of it. */
export function editsWeight(
	config: TransformerConfig,
	name: string,
	layer: number,
	probes: Probes,
): boolean {
	return tapsOf(config, name).some((tap) => probes.edits(tap.name, layer));
}

/** Hands a parameter of a layer to the probes that take it or a part of it, in float32. */
export function emitWeight(
	config: TransformerConfig,
	name: string,
	tensor: Tensor<FloatType>,
	layer: number,
	probes: Probes,
): void {
	if (!wantsWeight(config, name, layer, probes)) return;
	noGrad(() => {
		using exact = tensor.dtype === "float32"
			? tensor.detach()
			: cast(tensor as Tensor<"bfloat16">, "float32");
		let row = 0;
		for (const { name: tap, rows = exact.shape[0]! } of tapsOf(config, name)) {
			using part = exact.slice(row, row += rows);
			probes.emit(tap, part as Tensor<"float32">, layer);
		}
	});
}

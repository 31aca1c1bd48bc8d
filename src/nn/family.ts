// A model family: how its configuration reads, and where its files keep each parameter.

import type { Checkpoint, GgufFile } from "../formats/mod.ts";
import type { ConfigJson } from "../formats/config_json.ts";
import type { FloatType, Tensor } from "../tensor/mod.ts";
import type { TransformerConfig } from "./config.ts";

/** A stored tensor of which a parameter, or a part of one, is a view. */
export interface StoredPart {
	/** Its name in the checkpoint. */
	tensor: string;
	/** Its extents there. */
	shape: readonly number[];
	/** Whether it has the parts of all experts, one after the other: that of the parameter's expert is meant. */
	stacked?: true;
	/** The parameter's elements in their order, as a view of it, such as `(w) => w.transpose()`. */
	view: (stored: Tensor<FloatType>) => Tensor<FloatType>;
}

/**
 * Where a parameter is stored: under a name, as a view, or as several of those one below the other. A `*` in a
 * name stands for the number of the layer, a second one for that of the expert.
 */
export type Source = string | StoredPart | readonly (string | StoredPart)[];

/** Where each parameter is stored; `*` as in {@linkcode Source}, and a name without `.weight` or `.bias` for both. */
export type Sources = Readonly<Record<string, Source>>;

/** A model family in Hugging Face's format. */
export interface Family {
	/** Values of `model_type` in config.json. */
	readonly modelTypes: readonly string[];
	/** What may come before all names of a checkpoint or not, such as `transformer.`. */
	readonly prefix?: string;
	/** Tensors of a checkpoint that are no parameters, such as masks. */
	readonly ignored?: RegExp;
	/** The name that some files have for a tensor instead. */
	readonly older?: (name: string) => string;
	/** Reads a configuration. */
	config(json: ConfigJson): TransformerConfig;
	/** Where the parameters of such a model are. */
	sources(config: TransformerConfig): Sources;
	/** The settings of a model that was built here, for config.json. */
	settings?(config: TransformerConfig): Record<string, unknown>;
}

/** A model family in GGUF's format. */
export interface GgufFamily {
	/** Value of `general.architecture`. */
	readonly architecture: string;
	/** Reads a configuration. */
	config(file: GgufFile): TransformerConfig;
	/** Where the parameters of such a model are, and of such a file if files differ. */
	sources(config: TransformerConfig, file: Pick<Checkpoint, "tensors">): Sources;
	/** Tensors of a file that are no parameters. */
	readonly ignored?: RegExp;
}

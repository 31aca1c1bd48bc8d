// The models and steps of `./dev bench train`, ours.

import * as o from "../../mod.ts";
import type { GradientExchange } from "../../src/nn/training/gradient_exchange.ts";

/** A GPT-2 and the batches it is trained on. */
export interface Setting {
	layers: number;
	heads: number;
	hiddenSize: number;
	vocabularySize: number;
	contextLength: number;
	batch: number;
	tokens: number;
}

const GPT2 = { layers: 12, heads: 12, hiddenSize: 768, vocabularySize: 50304, contextLength: 1024 };

/** The same stand in bench/train_pytorch.py. */
export const SETTINGS: Readonly<Record<string, Setting>> = {
	"gpt2-4x256": { ...GPT2, batch: 4, tokens: 256 },
	"gpt2-2x1024": { ...GPT2, batch: 2, tokens: 1024 },
	small: {
		layers: 4,
		heads: 4,
		hiddenSize: 128,
		vocabularySize: 2048,
		contextLength: 256,
		batch: 8,
		tokens: 256,
	},
	medium: {
		layers: 6,
		heads: 4,
		hiddenSize: 256,
		vocabularySize: 256,
		contextLength: 256,
		batch: 16,
		tokens: 256,
	},
};

/** A model that is trained on random tokens. */
export class Training implements Disposable {
	readonly #model: o.Transformer;
	readonly #batch: [o.Tensor<"int32", 2>, o.Tensor<"int32", 2>];
	readonly #optimizer: o.AdamW;
	readonly #norm: o.GradientNorm;
	readonly #dtype: o.FloatType;

	private constructor(model: o.Transformer, { batch, tokens }: Setting, dtype: o.FloatType) {
		const ids = () => o.randint([batch, tokens], 0, model.config.vocabularySize);
		this.#model = model;
		this.#batch = [ids(), ids()];
		this.#dtype = dtype;
		this.#optimizer = new o.AdamW(model.parameters, { decays: (name) => model.decays(name) });
		this.#norm = new o.GradientNorm(model.parameters, { maximum: 1 });
	}

	/** Builds the model. */
	static async begin(setting: Setting, dtype: o.FloatType): Promise<Training> {
		return new Training(await o.gpt2({ ...setting, seed: 1 }), setting, dtype);
	}

	/** What is trained. */
	get parameters(): o.Parameters {
		return this.#model.parameters;
	}

	get device(): o.Device {
		return this.#model.device;
	}

	/** Queues one step: loss, gradients, which go through `exchange`, clipping, update. */
	step(exchange?: GradientExchange): void {
		o.scope(() => {
			const loss = this.#model.loss(...this.#batch, { dtype: this.#dtype });
			exchange?.begin();
			loss.backward(exchange ? { onLeaf: exchange.onLeaf } : {});
			exchange?.finish();
			this.#norm.measure(loss.detach());
			this.#optimizer.step(1e-4, this.#norm);
			o.zeroGradients(this.#model.parameters);
		});
	}

	/** Queues the gradients alone. */
	gradients(): void {
		o.scope(() => this.#model.loss(...this.#batch, { dtype: this.#dtype }).backward());
	}

	/** Frees the gradients. */
	forget(): void {
		o.zeroGradients(this.#model.parameters);
	}

	[Symbol.dispose](): void {
		this.#optimizer[Symbol.dispose]();
		this.#norm[Symbol.dispose]();
		for (const ids of this.#batch) ids.dispose();
		this.#model[Symbol.dispose]();
	}
}

// What users import of file formats alone.
/**
 * File formats alone: checkpoints (safetensors, GGUF, PyTorch's), tokenizers, tokens and texts, and models of the Hub.
 * Files are data: no reader runs what is in one.
 *
 * @example What a file of tokens holds
 * ```ts
 * import { TokenFile, writeTokens } from "jsr:@outlierscope/outlierscope/formats";
 *
 * const path = await Deno.makeTempFile({ suffix: ".bin" });
 * await writeTokens(path, [[1, 2, 3], [4, 5]]);
 * using file = await TokenFile.open(path);
 * console.log(file.length); // 5
 * await Deno.remove(path);
 * ```
 *
 * @module
 */

export { GgufError, GgufFile, type GgufTensor, type GgufValue } from "./gguf.ts";
export { type BlockType } from "./gguf.ts";
export { type DownloadProgress, HubError, resolveModel, type ResolveModelOptions } from "./hub.ts";
export {
	Safetensors,
	SafetensorsError,
	type SafetensorsTensor,
	type SafetensorsType,
	saveSafetensors,
} from "./safetensors.ts";
export { Staging } from "./staging.ts";
export { type EncodeOptions, type SpecialTokens, type Tokenizer } from "./tokenizer.ts";
export { GgufTokenizer } from "./gguf_tokenizer.ts";
export { TokenizerError, TokenizerJson } from "./tokenizer_json.ts";
export { type Checkpoint, type StoredTensor } from "./checkpoint.ts";
export { PyTorchCheckpoint, PyTorchError } from "./pytorch_checkpoint.ts";
export { PickledTensor, type PickleValue } from "./pickle.ts";
export { FileError } from "./file_error.ts";
export { TokenFile, type TokenFileOptions, type TokenFormat, writeTokens } from "./token_file.ts";
export { readTexts, type TextOptions } from "./text_file.ts";
export { learnBpe, type LearnBpeOptions, type TokenizerFiles } from "./learn_bpe.ts";
export { ConfigError } from "./config_json.ts";

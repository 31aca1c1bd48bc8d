// SGD with momentum against PyTorch.

import { Sgd } from "../../../src/nn/optim/sgd.ts";
import { deviceTest } from "../../tensor/on_device.ts";
import { compareRecorded } from "./recorded.ts";

deviceTest("SGD takes PyTorch's steps, with and without clipping", async () => {
	await compareRecorded("sgd", (parameters) => new Sgd(parameters));
});

deviceTest("SGD takes PyTorch's steps with Nesterov's momentum", async () => {
	await compareRecorded("sgd nesterov", (parameters) => new Sgd(parameters, { nesterov: true }));
});

// What a self-test is: a check of one or some kernels against a reference, on a device.

import type { Device } from "../../cuda/device.ts";
import type { Random } from "./random.ts";

/** A check of kernels, or of a library's function. */
export interface SelfTest {
  /** The kernels that it launches. */
  kernels: string[];
  /** What is checked, if it is no kernel. */
  name?: string;
  /**
   * Throws if a result is wrong.
   *
   * @returns the largest error, relative to the sizes that the tolerance is relative to
   */
  run(device: Device, random: Random): number;
}

// Sums of gradients.

import { copyInto } from "./contiguous.ts";
import { sumTo } from "./sum_to.ts";
import { Tensor } from "./tensor.ts";

/** a + b */
export function add(a: Tensor, b: Tensor): Tensor {
  using both = Tensor.empty(a.device, a.dtype, [2, ...a.shape]);
  using first = both.slice(0, 1), second = both.slice(1, 2);
  using from = a.expand(first.shape), to = b.expand(first.shape);
  copyInto(first, from);
  copyInto(second, to);
  using sum = sumTo(both as Tensor<"float32">, first.shape);
  return sum.reshape(a.shape);
}

/** y += x */
export function addInPlace(y: Tensor, x: Tensor): void {
  using sum = add(y, x);
  copyInto(y, sum);
}

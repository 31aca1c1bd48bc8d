// Rows of a table by index, as an embedding needs them.

import { BYTES_PER_ELEMENT, type DType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/**
 * The rows of a table that `ids` name.
 *
 * @param table [V, C], of any dtype; a row's bytes must be even
 * @param ids [T], each in 0..V-1 (checked by the caller, who knows what they mean)
 * @returns [T, C]
 */
export function gatherRows<D extends DType>(
  table: Tensor<D, 2>,
  ids: Tensor<"int32", 1>,
): Tensor<D, 2> {
  const [count] = ids.shape;
  const rowBytes = table.shape[1] * BYTES_PER_ELEMENT[table.dtype];
  if (rowBytes % 2 !== 0) throw new RangeError(`Cannot gather rows of ${rowBytes} bytes: odd`);
  const y = Tensor.empty<D, 2>(table.device, table.dtype, [count, table.shape[1]]);
  table.device.kernel("gather_rows")
    .overRows(count, y.pointer, table.pointer, ids.pointer, count, rowBytes);
  return y;
}

// Rows of a table by index, as an embedding needs them.

import { BYTES_PER_ELEMENT, type DType } from "./dtype.ts";
import { Tensor } from "./tensor.ts";

/**
 * The rows of a table that `ids` name.
 *
 * @param table [V, C], of any dtype
 * @param ids [T], each in 0..V-1; one that is not gives a row whose bits are all set: NaN, or -1
 * @returns [T, C]
 */
export function gatherRows<D extends DType>(
  table: Tensor<D, 2>,
  ids: Tensor<"int32", 1>,
): Tensor<D, 2> {
  const [count] = ids.shape;
  const [rows, columns] = table.shape;
  const y = Tensor.empty<D, 2>(table.device, table.dtype, [count, columns]);
  launchGatherRows(y, table, ids, 1, rows, columns);
  return y;
}

/** Launches `gather_rows` in the largest units that the rows' places are multiples of. */
function launchGatherRows(
  y: Tensor,
  tables: Tensor,
  ids: Tensor<"int32", 1>,
  outer: number,
  rows: number,
  columns: number,
): void {
  const bytes = columns * BYTES_PER_ELEMENT[y.dtype];
  const unit = [4, 2, 1].find((unit) => (bytes | y.pointer | tables.pointer) % unit === 0)!;
  const count = ids.shape[0];
  y.device.kernel(`gather_rows_${unit}`).overRows(
    outer * count,
    y.pointer,
    tables.pointer,
    ids.pointer,
    outer,
    count,
    rows,
    bytes / unit,
  );
}

// Scopes free the tensors made in them. Device memory is not the garbage collector's business, so it is
// freed at a known place: by `using`, by a scope, and only as a safety net by a finalizer.

/** What a scope can free. */
export interface Owned extends Disposable {
  /** Whether it was freed already. */
  readonly disposed: boolean;
}

const scopes: Set<Owned>[] = [];

/** Registers a new object with the innermost scope, if there is one. */
export function own(object: Owned): void {
  scopes.at(-1)?.add(object);
}

function collect(value: unknown, into: Set<unknown>): void {
  if (typeof value !== "object" || value === null || into.has(value)) return;
  into.add(value);
  if (ArrayBuffer.isView(value)) return;
  for (const item of Array.isArray(value) ? value : Object.values(value)) collect(item, into);
}

/**
 * Runs `body` and frees every tensor made in it, except those it returns (alone, or in arrays and plain
 * objects), which the enclosing scope, if any, then owns. `body` must not be asynchronous: work of
 * others would run inside the scope.
 *
 * @example Keep only the result
 * ```ts
 * import { Device, scope, Tensor } from "@outlierscope/outlierscope";
 * const device = await Device.open();
 * using kept = scope(() => {
 *   Tensor.from(device, "float32", [2], [1, 2]); // freed at the end of the scope
 *   return Tensor.from(device, "float32", [2], [3, 4]);
 * });
 * console.log(await kept.data()); // Float32Array [3, 4]
 * ```
 */
export function scope<T>(body: () => T): T {
  const owned = new Set<Owned>();
  scopes.push(owned);
  let kept = new Set<unknown>();
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => {}); // it may well fail without its tensors; the error below says why
      throw new TypeError(
        "Cannot run an asynchronous function in a scope: tensors of other tasks would be freed; " +
          "use `using` in asynchronous code",
      );
    }
    kept = new Set<unknown>();
    collect(result, kept);
    return result;
  } finally {
    scopes.pop();
    for (const object of owned) {
      if (kept.has(object)) own(object);
      else object[Symbol.dispose]();
    }
  }
}

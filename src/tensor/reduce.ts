import { Tensor } from "./tensor.ts";
export function sumTo(a: Tensor<"float32">, shape: readonly number[]): Tensor {
  const x = a.dataSync(), size = shape.reduce((p, e) => p * e, 1), out = new Array(size).fill(0);
  const added = a.shape.length - shape.length;
  x.forEach((v, i) => {
    let rest = i, at = 0, stride = 1;
    for (let axis = a.shape.length - 1; axis >= 0; axis--) {
      const c = rest % a.shape[axis]!;
      rest = Math.floor(rest / a.shape[axis]!);
      if (axis >= added) {
        if (shape[axis - added] !== 1) at += c * stride;
        stride *= shape[axis - added]!;
      }
    }
    out[at] += v;
  });
  return Tensor.from(a.device, a.dtype, shape, out);
}

"""Records the points of GGUF's grids, as src/cuda/kernels/grids.cuh.

    python tools/record_gguf_grids.py

Needs (installs nothing): gguf 0.19.0, from whose tables the points are read. Takes a second.
"""

from pathlib import Path

import gguf.quants as quants

OUTPUT = Path(__file__).parent.parent / "src/cuda/kernels/grids.cuh"
HEAD = """\
// The points of GGUF's grids: the quanta of IQ1, IQ2 and IQ3 come in groups, of which only those occur that are
// here. The format consists of these numbers: no rule makes them. A number is a point: of 8 quanta with 2 bits
// each, of 4 quanta with 3 bits in IQ3, the first lowest. Here it is written as digits to base 64, the first
// lowest; the compiler reads them. Made by tools/record_gguf_grids.py.
#pragma once

template <int N>
struct Grid {
  unsigned short points[N];

  template <int LENGTH>
  __host__ __device__ constexpr Grid(const char (&digits)[LENGTH]) : points{} {
    constexpr int A_POINT = (LENGTH - 1) / N;
    for (int i = 0; i < N; i++) {
      int point = 0;
      for (int digit = A_POINT - 1; digit >= 0; digit--)
        point = 64 * point + (digits[A_POINT * i + digit] - '0');
      points[i] = static_cast<unsigned short>(point);
    }
  }
};
"""
GRIDS = [quants.IQ1_S, quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S]
A_LINE = 100


def digits(number, count):
    """Base 64 from "0" upwards: a backslash among them is escaped as C++ wants it."""
    return "".join(chr(ord("0") + (number >> 6 * i) % 64) for i in range(count))


def main():
    lines = [HEAD]
    for kind in GRIDS:
        kind.init_grid()
        points = kind.grid.reshape(kind.grid_shape)
        bits = (len(kind.grid_map) - 1).bit_length()
        numbers = [sum(kind.grid_map.index(value) << bits * i for i, value in enumerate(point)) for point in points]
        assert len(set(numbers)) == len(numbers) and max(numbers) < 65536
        name = "IQ1" if kind is quants.IQ1_S else kind.__name__
        text = "".join(digits(number, 2 if max(numbers) < 64**2 else 3) for number in numbers)
        lines.append(f"\n__device__ constexpr Grid<{len(numbers)}> GRID_{name}(")
        for i in range(0, len(text), A_LINE):
            escaped = text[i : i + A_LINE].replace("\\", "\\\\")
            lines.append(f'\n  "{escaped}"')
        lines.append(");\n")
    OUTPUT.write_text("".join(lines))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


main()

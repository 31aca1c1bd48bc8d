// oneDNN's matrix product called from C++, as bench/kernels.ts calls it through the device layer:
// C [rows, columns] = A [rows, inner] · Bᵀ, B [columns, inner], in float32 or with bfloat16 inputs.
#include <oneapi/dnnl/dnnl.hpp>

#include <chrono>

using dnnl::memory;

// Seconds that the fastest of `repeats` products takes; the first, which makes the primitive, is not counted.
extern "C" double matmul_loop(void *a, void *b, void *c, int64_t rows, int64_t columns, int64_t inner,
                              int bfloat16, int repeats) {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  static dnnl::stream stream(engine);
  auto input = bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  memory::desc left({rows, inner}, input, memory::dims{inner, 1});
  memory::desc right({inner, columns}, input, memory::dims{1, inner});
  memory::desc result({rows, columns}, memory::data_type::f32, memory::dims{columns, 1});
#if DNNL_VERSION_MAJOR >= 3
  dnnl::matmul::primitive_desc description(engine, left, right, result);
#else
  dnnl::matmul::primitive_desc description({left, right, result}, engine);
#endif
  dnnl::matmul product(description);
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, {left, engine, a}},
                                            {DNNL_ARG_WEIGHTS, {right, engine, b}},
                                            {DNNL_ARG_DST, {result, engine, c}}};
  double best = 1e9;
  for (int i = -1; i < repeats; i++) {
    auto begin = std::chrono::steady_clock::now();
    product.execute(stream, arguments);
    stream.wait();
    std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    if (i >= 0 && time.count() < best) best = time.count();
  }
  return best;
}

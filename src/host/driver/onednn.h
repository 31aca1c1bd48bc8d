// oneDNN for the parts of the host driver that compute by it.
#pragma once
#if !__has_include(<oneapi/dnnl/dnnl.hpp>)
#error "oneDNN's headers are missing: install libdnnl-dev"
#endif
#include <oneapi/dnnl/dnnl.hpp>

namespace host {

inline dnnl::engine &engine() {
  static auto &engine = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

}  // namespace host

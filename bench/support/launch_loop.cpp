// Launches from C++ as bench/launch.ts does from TypeScript: what the driver's own part of a launch costs.
#include <chrono>

using Launch = int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                       void **, void **);

// Nanoseconds that a launch takes to be queued, of `count` in a row; -1 if one fails.
extern "C" double launch_loop(Launch launch, void *function, void *stream, void **extra, unsigned blocks,
                              unsigned threads, int count) {
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; i++) {
    if (launch(function, blocks, 1, 1, threads, 1, 1, 0, stream, nullptr, extra)) return -1;
  }
  std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
  return time.count() / count;
}

// A flow of control with a stack of its own that is switched to by hand: a thread of SIMT mode.
#pragma once
#include <cstddef>

namespace host {

class Fiber {
 public:
  // Will begin `entry`, which never returns, when it is switched to. The stack is mapped the first time
  // and kept. A fiber that is not started stands for what runs already.
  void start(void (*entry)());
  // Suspends the running fiber, `from`, and goes on with `to`.
  static void swap(Fiber &from, Fiber &to);

 private:
  void *context_ = nullptr;  // while suspended
  char *stack_ = nullptr;
  // For AddressSanitizer, which must know the stacks.
  const void *bottom_ = nullptr;
  size_t size_ = 0;
  void *fake_stack_ = nullptr;
};

}  // namespace host

// Fibers: a few instructions on x86-64, ucontext (which asks the kernel at every switch) elsewhere.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Pushes the registers that a call keeps, leaves the stack pointer in *from, takes `to` for it, and pops.
extern "C" void outlierscope_switch(void **from, void *to);
asm(R"(
.text
.type outlierscope_switch, @function
outlierscope_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size outlierscope_switch, . - outlierscope_switch
)");
#else
#include <ucontext.h>
#endif

namespace {

constexpr size_t stack_bytes = size_t{64} << 10;

char *map_stack() {
  size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void *memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, guard, PROT_NONE);  // an overflow ends the process instead of changing other stacks
  return static_cast<char *>(memory) + guard;
}

#ifdef __SANITIZE_ADDRESS__
void (*entry_point)();

void enter() {
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
  entry_point();
}
#endif

}  // namespace

namespace host {

void Fiber::start(void (*entry)()) {
  if (!stack_) stack_ = map_stack();
  bottom_ = stack_;
  size_ = stack_bytes;
#ifdef __SANITIZE_ADDRESS__
  entry_point = entry;
  entry = enter;
  // What ran on this stack before never returned, and so left the marks around its variables.
  __asan_unpoison_memory_region(stack_, stack_bytes);
#endif
#if defined(__x86_64__)
  auto **top = reinterpret_cast<void **>(stack_ + stack_bytes);
  top[-1] = nullptr;  // where `entry` would return to
  top[-2] = reinterpret_cast<void *>(entry);
  for (int i = 3; i <= 8; i++) top[-i] = nullptr;
  context_ = top - 8;
#else
  if (!context_) context_ = new ucontext_t;
  auto *context = static_cast<ucontext_t *>(context_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = stack_bytes;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
#endif
}

void Fiber::swap(Fiber &from, Fiber &to) {
#ifdef __SANITIZE_ADDRESS__
  if (!from.bottom_) {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    void *bottom;
    pthread_attr_getstack(&attributes, &bottom, &from.size_);
    from.bottom_ = bottom;
    pthread_attr_destroy(&attributes);
  }
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#endif
#if defined(__x86_64__)
  outlierscope_switch(&from.context_, to.context_);
#else
  if (!from.context_) from.context_ = new ucontext_t;
  swapcontext(static_cast<ucontext_t *>(from.context_), static_cast<ucontext_t *>(to.context_));
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace host

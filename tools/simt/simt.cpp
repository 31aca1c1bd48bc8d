// SIMT mode: runs a launch with a warp of 32, every thread a fiber. One runs until it waits for others, or
// changes memory atomically; the next is then chosen at random, so that code which only works in a
// certain order fails. One seed gives one order: blocks run one by one, in a random order too.
#include <link.h>

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "fiber.h"
#include "host.h"
#include "kernel_entry.h"

namespace {

constexpr unsigned warp = 32;
// Shared memory starts as NaN, or as the largest number.
constexpr int poison = 0xff;
// After so many turns in which no thread ended or got what it waited for, threads wait in a loop for what
// cannot come: about a second.
constexpr uint64_t turns_limit = uint64_t{1} << 24;

using Call = outlierscope_call;
const char *const call_names[] = {"__syncthreads()", "__syncwarp", "__shfl_sync", "__shfl_up_sync",
                                  "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync"};

struct Thread {
  host::Fiber fiber;
  enum { RUNNABLE, WAITING, ENDED } state;
  Call call;        // while it waits
  uint64_t result;  // what the call gave
};

// SplitMix64.
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }
};

// The block that runs. Fibers have no arguments, and only one block runs at a time.
std::mutex launch_mutex;
std::vector<std::unique_ptr<Thread>> &threads = *new std::vector<std::unique_ptr<Thread>>;
std::vector<unsigned> &runnable = *new std::vector<unsigned>;
host::Fiber *launcher;
const outlierscope_kernel *kernel;
const unsigned char *arguments;
outlierscope_block block;
unsigned count, current, ended, at_barrier;
uint32_t waiting[32];  // by warp: the lanes that wait in a call of their warp
uint64_t turns;
Random random_numbers;
CUresult failure;
std::string &reason = *new std::string;

std::string format(const char *pattern, ...) {
  char text[512];
  va_list list;
  va_start(list, pattern);
  vsnprintf(text, sizeof text, pattern, list);
  va_end(list);
  return text;
}

std::string place(uint64_t index, unsigned x, unsigned y) {
  return format("(%" PRIu64 ", %" PRIu64 ", %" PRIu64 ")", index % x, index / x % y, index / x / y);
}

std::string name_of(unsigned thread) {
  return "thread " + place(thread, block.grid.block_x, block.grid.block_y);
}

std::string name_of(const Call &call) {
  std::string mask = call.kind == Call::SYNCTHREADS ? "" : format("(0x%08x)", call.mask);
  return call_names[call.kind] + mask + format(" at %s:%d", call.file, call.line);
}

Thread &self() { return *threads[current]; }

// Suspends the current thread; another goes on, or the launch if none can.
void leave() {
  host::Fiber &from = self().fiber;
  if (failure || runnable.empty()) return host::Fiber::swap(from, *launcher);
  unsigned &chosen = runnable[random_numbers.below(runnable.size())];
  unsigned next = chosen;
  chosen = runnable.back();
  runnable.pop_back();
  if (next == current) return;
  current = next;
  host::Fiber::swap(from, self().fiber);
}

// Ends the launch; the current thread never goes on.
void fail(CUresult code, const std::string &why) {
  failure = code;
  reason = why;
  leave();
}

void release(unsigned thread, uint64_t result) {
  threads[thread]->state = Thread::RUNNABLE;
  threads[thread]->result = result;
  runnable.push_back(thread);
  turns = 0;
}

bool same(const Call &a, const Call &b) {
  // Barriers of divergent code may be as many as the threads and still not be one barrier.
  return a.kind == b.kind && a.mask == b.mask &&
         (a.kind != Call::SYNCTHREADS || (a.line == b.line && !strcmp(a.file, b.file)));
}

bool waits_in(unsigned thread, const Call &call) {
  return thread < count && threads[thread]->state == Thread::WAITING &&
         same(threads[thread]->call, call);
}

void arrive_in_block() {
  if (++at_barrier < count) return;
  for (unsigned thread = 0; thread < count; thread++) {
    if (!waits_in(thread, self().call)) return;
  }
  at_barrier = 0;
  for (unsigned thread = 0; thread < count; thread++) release(thread, 0);
}

void arrive_in_warp() {
  const Call call = self().call;
  unsigned first = current - current % warp;
  uint32_t &lanes = waiting[current / warp];
  lanes |= uint32_t{1} << current % warp;
  if ((lanes & call.mask) != call.mask) return;
  uint64_t votes = 0;
  for (unsigned lane = 0; lane < warp; lane++) {
    if (!(call.mask >> lane & 1)) continue;
    if (!waits_in(first + lane, call)) return;
    votes |= threads[first + lane]->call.value << lane;  // of a ballot
  }
  bool shuffle = call.kind >= Call::SHUFFLE && call.kind <= Call::SHUFFLE_XOR;
  lanes &= ~call.mask;
  for (unsigned lane = 0; lane < warp; lane++) {
    if (!(call.mask >> lane & 1)) continue;
    unsigned source = shuffle ? first + static_cast<unsigned>(threads[first + lane]->call.source) : 0;
    release(first + lane, shuffle ? threads[source]->call.value : votes);
  }
}

uint64_t wait(const Call *call) {
  Thread &thread = self();
  thread.call = *call;
  if (call->kind == Call::SYNCTHREADS) {
    thread.state = Thread::WAITING;
    arrive_in_block();
  } else {
    if (!(call->mask >> current % warp & 1)) {
      fail(CUDA_ERROR_ILLEGAL_INSTRUCTION,
           name_of(current) + " is not in the mask of " + name_of(*call) + ", which it calls");
    }
    if (!(call->mask >> call->source & 1) && call->kind >= Call::SHUFFLE &&
        call->kind <= Call::SHUFFLE_XOR) {
      fail(CUDA_ERROR_ILLEGAL_INSTRUCTION,
           name_of(current) + " reads from lane " + std::to_string(call->source) +
               ", which is not in the mask of " + name_of(*call));
    }
    thread.state = Thread::WAITING;
    arrive_in_warp();
  }
  leave();
  return thread.result;
}

void yield() {
  if (++turns > turns_limit) {
    fail(CUDA_ERROR_LAUNCH_TIMEOUT,
         name_of(current) + " and others change memory in a loop without end: they wait for what "
                            "no running thread does");
  }
  runnable.push_back(current);
  leave();
}

void run_thread() {
  kernel->run_thread(arguments, current);
  self().state = Thread::ENDED;
  ended++;
  turns = 0;
  leave();
}

// Which thread a waiting one waits for in vain, and where that is instead.
std::string deadlock() {
  unsigned thread = 0;
  while (threads[thread]->state != Thread::WAITING) thread++;
  const Call &call = threads[thread]->call;
  unsigned missing = call.kind == Call::SYNCTHREADS ? 0 : thread - thread % warp;
  while (waits_in(missing, call) ||
         (call.kind != Call::SYNCTHREADS && !(call.mask >> missing % warp & 1))) {
    missing++;
  }
  std::string text = name_of(thread) + " waits in " + name_of(call) + " for ";
  if (missing >= count) {
    return text + format("lane %u, which the block of %u threads has not", missing % warp, count);
  }
  bool waits = threads[missing]->state == Thread::WAITING;
  return text + name_of(missing) + ", which " +
         (waits ? "waits in " + name_of(threads[missing]->call) : "has ended");
}

const outlierscope_simt simt{wait, yield};

void run_block() {
  ended = at_barrier = 0;
  turns = 0;
  memset(waiting, 0, sizeof waiting);
  runnable.clear();
  for (unsigned thread = 0; thread < count; thread++) {
    threads[thread]->fiber.start(run_thread);
    threads[thread]->state = Thread::RUNNABLE;
    runnable.push_back(thread);
  }
  current = runnable[random_numbers.below(count)];
  runnable.erase(runnable.begin() + current);
  host::Fiber::swap(*launcher, self().fiber);
  if (!failure && ended < count) {
    failure = CUDA_ERROR_LAUNCH_FAILED;
    reason = deadlock();
  }
}

// This thread's copy of the variables of the module that `address` is in: its shared memory, and what
// begin_block sets.
struct ThreadMemory {
  const void *address;
  void *data = nullptr;
  size_t bytes = 0;
  explicit ThreadMemory(const void *address) : address(address) {
    dl_iterate_phdr(find, this);
  }
  static int find(dl_phdr_info *info, size_t, void *result) {
    auto *memory = static_cast<ThreadMemory *>(result);
    uintptr_t wanted = reinterpret_cast<uintptr_t>(memory->address) - info->dlpi_addr;
    bool here = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
      const auto &header = info->dlpi_phdr[i];
      here |= header.p_type == PT_LOAD && wanted - header.p_vaddr < header.p_memsz;
      if (header.p_type == PT_TLS) bytes = header.p_memsz;
    }
    if (here) memory->data = info->dlpi_tls_data;
    if (here) memory->bytes = bytes;
    return here;
  }
};

}  // namespace

namespace host {

void run_simt(const outlierscope_kernel &launched, const outlierscope_grid &grid,
              const unsigned char *packed, size_t shared_bytes, uint64_t seed) {
  std::lock_guard lock(launch_mutex);
  Fiber here;
  std::unique_ptr<char[]> shared(new char[shared_bytes]);
  launcher = &here;
  kernel = &launched;
  arguments = packed;
  failure = CUDA_SUCCESS;
  random_numbers.state = seed;
  count = grid.block_x * grid.block_y * grid.block_z;
  while (threads.size() < count) threads.push_back(std::make_unique<Thread>());
  uint64_t blocks = uint64_t{grid.grid_x} * grid.grid_y * grid.grid_z;
  // A walk that visits every block once: its step has no factor in common with their number.
  uint64_t step = 1 + random_numbers.below(blocks);
  while (std::gcd(step, blocks) != 1) step++;
  block = {grid, random_numbers.below(blocks), shared.get(), &simt};
  kernel->begin_block(&block);  // the system makes a thread's memory when it is first used
  ThreadMemory memory(&launched);
  for (uint64_t i = 0; i < blocks && !failure; i++) {
    block.index = (block.index + step) % blocks;
    memset(shared.get(), poison, shared_bytes);
    if (memory.data) memset(memory.data, poison, memory.bytes);
    kernel->begin_block(&block);
    run_block();
  }
  if (!failure) return;
  set_asynchronous_error(failure,
                         std::string("kernel ") + kernel->name + ", block " +
                             place(block.index, grid.grid_x, grid.grid_y) + ": " + reason);
}

}  // namespace host

// NCCL's functions over MPI: how processes that compute on CPUs work together. This is a library of its own,
// built where MPI is installed. It queues its work on the host driver's streams through the driver's C ABI.
#define OMPI_SKIP_MPICXX  // the old functions for C++, which need a library of their own
#define MPICH_SKIP_MPICXX
#include <dlfcn.h>
#include <mpi.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "abi.h"

EXPORT CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data);
EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr pointer);
EXPORT CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status);

struct ncclComm {
  MPI_Comm mpi = MPI_COMM_NULL;
  int rank = 0, size = 1;
  std::atomic<int> queued{0}, error{ncclSuccess};
  std::atomic<bool> aborted{false};
};

namespace {

using Clock = std::chrono::steady_clock;

std::mutex mutex;
auto &communicators = *new std::set<ncclComm_t>;  // that are there; never destroyed, streams may still run
bool clean = true;                                // until something failed
bool joined = false;                              // without a launcher of MPI
char last_error[1024] = "no error";

ncclResult_t fail(ncclResult_t code, const std::string &text) {
  snprintf(last_error, sizeof last_error, "%s", text.c_str());
  return code;
}

ncclResult_t fail_mpi(const char *function, int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return fail(ncclRemoteError, std::string(function) + ": " + text);
}

// MPI ends in order only if every process does. One that failed must not wait for the others, and Open MPI does
// not come to an end of what was joined.
void end_mpi() {
  int ended = 0;
  MPI_Finalized(&ended);
  if (clean && !joined && communicators.empty() && !ended) MPI_Finalize();
}

ncclResult_t begin_mpi() {
  int begun = 0;
  MPI_Initialized(&begun);
  if (begun) return ncclSuccess;
  // MPI's plugins look for its functions among the symbols of the whole process.
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(&MPI_Initialized), &info)) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
  }
  int provided = 0;
  if (int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided)) {
    return fail_mpi("MPI_Init_thread", code);
  }
  atexit(end_mpi);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  if (provided < MPI_THREAD_MULTIPLE) {
    return fail(ncclSystemError, "this MPI cannot be called by several threads");
  }
  return ncclSuccess;
}

// --- Finding each other: by the launcher of MPI, or through a server that rank 0 starts. ---

constexpr char launched[] = "launched by MPI";

bool by_launcher() {
  for (const char *name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (getenv(name)) return true;
  }
  return false;
}

// Starts Open MPI's name server, which ends with this process; returns where it listens, or "".
std::string start_server() {
  int ends[2];
  if (pipe(ends)) return "";
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    execlp("ompi-server", "ompi-server", "--no-daemonize", "-r", "+", nullptr);  // to the error output
    _exit(127);
  }
  close(ends[1]);
  std::string line;
  char letter;
  while (child > 0 && read(ends[0], &letter, 1) == 1 && letter != '\n') line += letter;
  close(ends[0]);
  if (line.empty() && child > 0) waitpid(child, nullptr, 0);
  return line;
}

// Has processes that no launcher of MPI started join in the order of their ranks; those who are in help to
// let the next one in.
int join(int size, int rank, const std::string &service, MPI_Comm *all) {
  char port[MPI_MAX_PORT_NAME] = "";
  MPI_Comm between;
  auto merge = [&](int late) {
    MPI_Comm more;
    int code = MPI_Intercomm_merge(between, late, &more);
    if (!code) *all = more;
    return code;
  };
  auto turn = [&](int next) { return service + "." + std::to_string(next); };
  *all = MPI_COMM_SELF;
  if (rank == 0) {
    if (int code = MPI_Open_port(MPI_INFO_NULL, port)) return code;
  } else {
    auto limit = Clock::now() + std::chrono::seconds(60);
    while (int code = MPI_Lookup_name(turn(rank).c_str(), MPI_INFO_NULL, port)) {
      if (Clock::now() > limit) return code;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (int code = MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &between)) return code;
    if (int code = merge(1)) return code;
  }
  for (int next = rank + 1; next < size; next++) {
    if (rank == 0) {
      if (int code = MPI_Publish_name(turn(next).c_str(), MPI_INFO_NULL, port)) return code;
    }
    if (int code = MPI_Comm_accept(port, MPI_INFO_NULL, 0, *all, &between)) return code;
    if (int code = merge(0)) return code;
  }
  return MPI_SUCCESS;
}

// --- Work: what a stream runs when it comes to it. ---

// Begins a call; returns MPI's code.
using Begin = std::function<int(MPI_Request *)>;
struct Call {
  ncclComm_t comm;
  Begin begin;
  std::function<void()> end;
};

thread_local int depth = 0;
thread_local std::vector<std::pair<CUstream, Call>> grouped;

// Waits in a way that can be given up, and that leaves the cores to those who compute.
int wait(std::vector<MPI_Request> &requests, const std::vector<Call> &calls) {
  auto begin = Clock::now();
  for (;;) {
    int done = 0;
    if (int code = MPI_Testall(requests.size(), requests.data(), &done, MPI_STATUSES_IGNORE)) return code;
    if (done) return MPI_SUCCESS;
    for (const Call &call : calls) {
      if (call.comm->aborted) return MPI_ERR_REQUEST;
    }
    bool soon = Clock::now() - begin < std::chrono::milliseconds(1);
    if (soon) std::this_thread::yield();
    else std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void run(void *data) {
  std::unique_ptr<std::vector<Call>> calls(static_cast<std::vector<Call> *>(data));
  std::vector<MPI_Request> requests;
  int code = MPI_SUCCESS;
  for (Call &call : *calls) {
    if (call.comm->aborted || call.comm->error) code = MPI_ERR_COMM;
    if (!code) code = call.begin(&requests.emplace_back());
  }
  if (!code) code = wait(requests, *calls);
  for (Call &call : *calls) {
    if (!code && call.end) call.end();
    if (code && !call.comm->error) {
      std::lock_guard lock(mutex);
      call.comm->error = call.comm->aborted ? ncclRemoteError : fail_mpi("MPI", code);
      clean = false;
    }
    call.comm->queued--;
  }
}

ncclResult_t queue(CUstream stream, std::vector<Call> calls) {
  for (Call &call : calls) call.comm->queued++;
  auto *work = new std::vector<Call>(std::move(calls));
  if (CUresult error = cuLaunchHostFunc(stream, run, work)) {
    for (Call &call : *work) call.comm->queued--;
    delete work;
    return fail(ncclUnhandledCudaError, "cuLaunchHostFunc fails with " + std::to_string(error));
  }
  return ncclSuccess;
}

struct Type {
  MPI_Datatype mpi = MPI_DATATYPE_NULL;
  size_t bytes = 0;
};

Type find_type(ncclDataType_t type) {
  switch (type) {
    case ncclUint8: return {MPI_UINT8_T, 1};
    case ncclInt32: return {MPI_INT32_T, 4};
    case ncclFloat32: return {MPI_FLOAT, 4};
    case ncclFloat64: return {MPI_DOUBLE, 8};
    default: return {};
  }
}

MPI_Op find_op(ncclRedOp_t op) {
  switch (op) {
    case ncclSum: return MPI_SUM;
    case ncclMax: return MPI_MAX;
    case ncclMin: return MPI_MIN;
    default: return MPI_OP_NULL;
  }
}

constexpr size_t most = 2147483647;  // MPI counts by int

ncclResult_t check_memory(const char *what, const void *pointer, size_t bytes) {
  if (bytes == 0) return ncclSuccess;
  CUdeviceptr base = 0, address = reinterpret_cast<CUdeviceptr>(pointer);
  size_t size = 0;
  if (cuMemGetAddressRange_v2(&base, &size, address) || bytes > size - (address - base)) {
    return fail(ncclInvalidArgument, std::string(what) + " is no memory of the device of " +
                                         std::to_string(bytes) + " bytes");
  }
  return ncclSuccess;
}

// A call's communicator and stream, the type of its elements, and how it combines them.
struct Arguments {
  ncclComm_t comm;
  CUstream stream;
  ncclDataType_t data_type;
  int root = 0;
  ncclRedOp_t op = ncclSum;

  Type type = find_type(data_type);
  MPI_Op combine = find_op(op);
  int rank = -1, size = 0;  // of the communicator, if it is one
  Arguments &&look_up() && {
    std::lock_guard lock(mutex);
    if (communicators.count(comm)) {
      rank = comm->rank;
      size = comm->size;
    }
    return std::move(*this);
  }
};

// Checks a call and queues it: `sent` and `received` are numbers of elements.
ncclResult_t submit(const Arguments &call, const void *send, size_t sent, void *receive, size_t received,
                    Begin begin, std::function<void()> end = nullptr) {
  auto &[comm, stream, data_type, root, op, type, combine, rank, size] = call;
  if (size == 0) return fail(ncclInvalidArgument, "no such communicator");
  if (comm->error || comm->aborted) return fail(ncclInvalidUsage, "the communicator has failed before");
  if (!type.bytes) return fail(ncclInvalidArgument, "no such type here: " + std::to_string(data_type));
  if (combine == MPI_OP_NULL) return fail(ncclInvalidArgument, "no such operation: " + std::to_string(op));
  if (root < 0 || root >= size) return fail(ncclInvalidArgument, "no such rank: " + std::to_string(root));
  if (std::max(sent, received) > most) return fail(ncclInvalidArgument, "too many elements for MPI");
  if (ncclResult_t error = check_memory("what is sent", send, sent * type.bytes)) return error;
  if (ncclResult_t error = check_memory("what is received", receive, received * type.bytes)) return error;
  CUstreamCaptureStatus capturing;
  if (CUresult error = cuStreamIsCapturing(stream, &capturing)) {
    return fail(ncclUnhandledCudaError, "the stream: error " + std::to_string(error));
  }
  if (capturing) return fail(ncclInvalidUsage, "MPI's calls cannot be captured in a graph");
  std::vector<Call> calls;
  calls.push_back({comm, std::move(begin), std::move(end)});
  if (depth == 0) return queue(stream, std::move(calls));
  grouped.emplace_back(stream, std::move(calls[0]));
  return ncclSuccess;
}

}  // namespace

EXPORT ncclResult_t ncclGetVersion(int *version) {
  if (!version) return fail(ncclInvalidArgument, "no place for the version");
  *version = 22800;  // whose functions these are
  return ncclSuccess;
}

EXPORT const char *ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    default: return "unknown result code";
  }
}

EXPORT const char *ncclGetLastError(ncclComm_t) { return last_error; }

EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  if (!id) return fail(ncclInvalidArgument, "no place for the id");
  memset(id, 0, sizeof *id);
  if (by_launcher()) {
    strcpy(id->internal, launched);
    return ncclSuccess;
  }
  std::string address = start_server();
  if (address.empty()) {
    return fail(ncclSystemError,
                "cannot start ompi-server, by which processes that mpirun did not start find each other; "
                "install openmpi-bin, or start them with mpirun");
  }
  address = address.substr(0, address.find(";tcp6"));
  std::string text = address + "\n" + std::to_string(std::random_device()());
  if (text.size() >= sizeof id->internal) {
    return fail(ncclSystemError, "the address of ompi-server is too long: " + address);
  }
  strcpy(id->internal, text.c_str());
  return ncclSuccess;
}

EXPORT ncclResult_t ncclCommInitRank(ncclComm_t *made, int size, ncclUniqueId id, int rank) {
  if (!made || size < 1 || rank < 0 || rank >= size) {
    return fail(ncclInvalidArgument, "no rank " + std::to_string(rank) + " of " + std::to_string(size));
  }
  std::string text(id.internal, strnlen(id.internal, sizeof id.internal));
  auto comm = std::make_unique<ncclComm>();
  comm->rank = rank;
  comm->size = size;
  if (text == launched) {
    if (ncclResult_t error = begin_mpi()) return error;
    int count, own;
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    if (count != size || own != rank) {
      return fail(ncclInvalidUsage, "MPI counts this process as rank " + std::to_string(own) + " of " +
                                        std::to_string(count) + ", not as " + std::to_string(rank) +
                                        " of " + std::to_string(size));
    }
    if (int code = MPI_Comm_dup(MPI_COMM_WORLD, &comm->mpi)) return fail_mpi("MPI_Comm_dup", code);
  } else {
    size_t middle = text.find('\n');
    if (middle == std::string::npos) return fail(ncclInvalidArgument, "no id of ncclGetUniqueId");
    setenv("OMPI_MCA_pmix_server_uri", text.substr(0, middle).c_str(), 0);
    joined = true;
    if (ncclResult_t error = begin_mpi()) return error;
    if (int code = join(size, rank, text.substr(middle + 1), &comm->mpi)) return fail_mpi("joining", code);
  }
  MPI_Comm_set_errhandler(comm->mpi, MPI_ERRORS_RETURN);
  std::lock_guard lock(mutex);
  *made = comm.release();
  communicators.insert(*made);
  return ncclSuccess;
}

EXPORT ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  {
    std::lock_guard lock(mutex);
    if (!communicators.erase(comm)) return fail(ncclInvalidArgument, "no such communicator");
  }
  while (comm->queued) std::this_thread::sleep_for(std::chrono::microseconds(100));
  if (!comm->error && !comm->aborted) {
    MPI_Barrier(comm->mpi);  // whoever leaves has sent all that others wait for
    MPI_Comm_free(&comm->mpi);
  }
  delete comm;
  return ncclSuccess;
}

EXPORT ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    std::lock_guard lock(mutex);
    if (!communicators.count(comm)) return fail(ncclInvalidArgument, "no such communicator");
    comm->aborted = true;
    clean = false;
  }
  return ncclCommDestroy(comm);
}

EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
  std::lock_guard lock(mutex);
  if (!communicators.count(comm) || !error) return fail(ncclInvalidArgument, "no such communicator");
  *error = static_cast<ncclResult_t>(comm->error.load());
  return ncclSuccess;
}

EXPORT ncclResult_t ncclGroupStart() {
  depth++;
  return ncclSuccess;
}

EXPORT ncclResult_t ncclGroupEnd() {
  if (depth == 0) return fail(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  if (--depth > 0) return ncclSuccess;
  auto all = std::move(grouped);
  grouped.clear();
  while (!all.empty()) {
    CUstream stream = all.front().first;
    auto others = std::stable_partition(all.begin(), all.end(), [=](auto &one) { return one.first == stream; });
    std::vector<Call> calls;
    for (auto one = all.begin(); one != others; one++) calls.push_back(std::move(one->second));
    if (ncclResult_t error = queue(stream, std::move(calls))) return error;
    all.erase(all.begin(), others);
  }
  return ncclSuccess;
}

EXPORT ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t data_type,
                                  ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, 0, op}.look_up();
  return submit(call, send, count, receive, count, [=](MPI_Request *request) {
    return MPI_Iallreduce(send == receive ? MPI_IN_PLACE : send, receive, count, call.type.mpi, call.combine,
                          comm->mpi, request);
  });
}

EXPORT ncclResult_t ncclReduce(const void *send, void *receive, size_t count, ncclDataType_t data_type,
                               ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, root, op}.look_up();
  bool here = call.rank == root;
  return submit(call, send, count, receive, here ? count : 0, [=](MPI_Request *request) {
    return MPI_Ireduce(here && send == receive ? MPI_IN_PLACE : send, receive, count, call.type.mpi,
                       call.combine, root, comm->mpi, request);
  });
}

EXPORT ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t data_type,
                                  int root, ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, root}.look_up();
  bool here = call.rank == root;
  return submit(call, send, here ? count : 0, receive, count, [=](MPI_Request *request) {
    if (here && send != receive) memmove(receive, send, count * call.type.bytes);
    return MPI_Ibcast(receive, count, call.type.mpi, root, comm->mpi, request);
  });
}

EXPORT ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t data_type,
                                  ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type}.look_up();
  bool in_place = send == static_cast<char *>(receive) + call.rank * count * call.type.bytes;
  return submit(call, send, count, receive, count * call.size, [=](MPI_Request *request) {
    return MPI_Iallgather(in_place ? MPI_IN_PLACE : send, count, call.type.mpi, receive, count,
                          call.type.mpi, comm->mpi, request);
  });
}

EXPORT ncclResult_t ncclReduceScatter(const void *send, void *receive, size_t count, ncclDataType_t data_type,
                                      ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, 0, op}.look_up();
  // A part may be received in its own place among those that are sent, which MPI does not allow.
  auto part = std::make_shared<std::vector<char>>();
  return submit(
      call, send, count * call.size, receive, count,
      [=](MPI_Request *request) {
        part->resize(count * call.type.bytes);
        return MPI_Ireduce_scatter_block(send, part->data(), count, call.type.mpi, call.combine, comm->mpi,
                                         request);
      },
      [=] { memcpy(receive, part->data(), part->size()); });
}

EXPORT ncclResult_t ncclSend(const void *send, size_t count, ncclDataType_t data_type, int peer,
                             ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, peer}.look_up();
  return submit(call, send, count, nullptr, 0, [=](MPI_Request *request) {
    return MPI_Isend(send, count, call.type.mpi, peer, 0, comm->mpi, request);
  });
}

EXPORT ncclResult_t ncclRecv(void *receive, size_t count, ncclDataType_t data_type, int peer,
                             ncclComm_t comm, cudaStream_t stream) {
  auto call = Arguments{comm, stream, data_type, peer}.look_up();
  return submit(call, nullptr, 0, receive, count, [=](MPI_Request *request) {
    return MPI_Irecv(receive, count, call.type.mpi, peer, 0, comm->mpi, request);
  });
}

// NVRTC on the host: hands the source to the system's C++ compiler and returns the bytes of the shared
// object as the "cubin" and the compiler's words as the program log.
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "abi.h"
#include "embedded.h"  // compiler, sanitizer flags and the kernel headers, written by the build

extern char **environ;

namespace {

struct Program {
  std::string source, name, log, binary;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
};

Program *program_of(nvrtcProgram handle) { return reinterpret_cast<Program *>(handle); }

void remove_tree(const std::string &path) {
  nftw(
      path.c_str(), [](const char *entry, const struct stat *, int, FTW *) { return remove(entry); },
      8, FTW_DEPTH | FTW_PHYS);
}

// Directories in use: a process that exits during a compilation removes them on its way out.
std::mutex directories_mutex;
auto &directories = *new std::set<std::string>;

struct TemporaryDirectory {
  std::string path;
  TemporaryDirectory() {
    static const int registered = atexit([] {
      std::lock_guard lock(directories_mutex);
      for (auto &path : directories) remove_tree(path);
    });
    (void)registered;
    const char *base = getenv("TMPDIR");
    std::string pattern = std::string(base && *base ? base : "/tmp") + "/outlierscope-nvrtc-XXXXXX";
    std::lock_guard lock(directories_mutex);
    if (!mkdtemp(pattern.data())) return;
    path = pattern;
    directories.insert(path);
  }
  ~TemporaryDirectory() {
    if (path.empty()) return;
    std::lock_guard lock(directories_mutex);
    remove_tree(path);
    directories.erase(path);
  }
};

bool write_file(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return file.good();
}

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Runs a program with its standard error in `log`; returns its exit status, or -1.
int run(const std::vector<std::string> &command, const std::string &log) {
  std::vector<char *> arguments;
  for (auto &word : command) arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  pid_t child;
  int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return -1;
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool is_word(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Names of the kernels that a preprocessed source defines: the word before the first parenthesis after each `__global__`,
// a `__launch_bounds__(...)` between them left out.
std::set<std::string> kernel_names(const std::string &source) {
  const std::string marker = "__global__", bounds = "__launch_bounds__";
  std::set<std::string> names;
  for (size_t at = source.find(marker); at != std::string::npos; at = source.find(marker, at)) {
    at += marker.size();
    size_t open = source.find('(', at);
    size_t launch_bounds = source.find(bounds, at);
    if (launch_bounds < open) open = source.find('(', source.find(')', open));
    if (open == std::string::npos) break;
    size_t end = open;
    while (end > at && isspace(static_cast<unsigned char>(source[end - 1]))) end--;
    size_t begin = end;
    while (begin > at && is_word(source[begin - 1])) begin--;
    if (begin < end) names.insert(source.substr(begin, end - begin));
  }
  return names;
}

// The source with each `extern __shared__ T name[];` as a pointer. At file scope, where the pointer would
// have no value, the second statement is an error whose words are its own name.
std::string with_dynamic_shared(std::string source) {
  const std::string marker = "__shared__";
  const char *spaces = " \t\n";
  for (size_t at = source.find(marker); at != std::string::npos; at = source.find(marker, at + 1)) {
    size_t before = source.find_last_not_of(spaces, at - 1), end = source.find(';', at);
    if (before == std::string::npos || before < 5 || end == std::string::npos) continue;
    if (source.compare(before - 5, 6, "extern") != 0) continue;
    size_t type = source.find_first_not_of(spaces, at + marker.size());
    size_t bracket = source.find('[', type);
    if (bracket > end) continue;
    size_t name_end = source.find_last_not_of(spaces, bracket - 1) + 1;
    size_t name = name_end;
    while (is_word(source[name - 1])) name--;
    std::string pointee = source.substr(type, name - type);
    std::string variable = source.substr(name, name_end - name);
    source.replace(before - 5, end - (before - 5),
                   pointee + "*" + variable + " = static_cast<" + pointee +
                       "*>(outlierscope::dynamic_shared); extern_shared_must_be_in_a_function = 0");
  }
  return source;
}

}  // namespace

EXPORT nvrtcResult nvrtcVersion(int *major, int *minor) {
  if (!major || !minor) return NVRTC_ERROR_INVALID_INPUT;
  *major = __GNUC__;
  *minor = __GNUC_MINOR__;
  return NVRTC_SUCCESS;
}

EXPORT const char *nvrtcGetErrorString(nvrtcResult result) {
  switch (result) {
    case NVRTC_SUCCESS:
      return "NVRTC_SUCCESS";
    case NVRTC_ERROR_OUT_OF_MEMORY:
      return "NVRTC_ERROR_OUT_OF_MEMORY";
    case NVRTC_ERROR_INVALID_INPUT:
      return "NVRTC_ERROR_INVALID_INPUT";
    case NVRTC_ERROR_INVALID_PROGRAM:
      return "NVRTC_ERROR_INVALID_PROGRAM";
    case NVRTC_ERROR_COMPILATION:
      return "NVRTC_ERROR_COMPILATION";
    default:
      return "NVRTC_ERROR_INTERNAL_ERROR";
  }
}

EXPORT nvrtcResult nvrtcCreateProgram(nvrtcProgram *handle, const char *source, const char *name,
                                      int header_count, const char *const *headers,
                                      const char *const *header_names) {
  if (!handle || !source || header_count < 0) return NVRTC_ERROR_INVALID_INPUT;
  auto *program = new Program;
  program->source = source;
  program->name = name && *name ? name : "kernel.cu";
  for (int i = 0; i < header_count; i++) {
    program->headers.emplace_back(header_names[i], headers[i]);
  }
  *handle = reinterpret_cast<nvrtcProgram>(program);
  return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram *handle) {
  if (!handle || !*handle) return NVRTC_ERROR_INVALID_PROGRAM;
  delete program_of(*handle);
  *handle = nullptr;
  return NVRTC_SUCCESS;
}

// Of the architectures, sm_01 is SIMT mode, and any other a warp of one; -D options are passed on.
EXPORT nvrtcResult nvrtcCompileProgram(nvrtcProgram handle, int option_count,
                                       const char *const *options) {
  if (!handle) return NVRTC_ERROR_INVALID_PROGRAM;
  Program &program = *program_of(handle);
  TemporaryDirectory directory;
  if (directory.path.empty()) {
    program.log = "Cannot create a temporary directory in TMPDIR or /tmp: " +
                  std::string(strerror(errno)) + "\n";
    return NVRTC_ERROR_INTERNAL_ERROR;
  }
  auto in_directory = [&](const std::string &name) { return directory.path + "/" + name; };
  std::string source = "#line 1 \"" + program.name + "\"\n" + with_dynamic_shared(program.source) + "\n";
  bool written = write_file(in_directory("kernels.cpp"), program.source) &&
                 write_file(in_directory("kernel.h"), kernel_h) &&
                 write_file(in_directory("kernel_entry.h"), kernel_entry_h) &&
                 write_file(in_directory("kernel_simt.h"), kernel_simt_h);
  for (auto &[name, text] : program.headers) {
    written = written && write_file(in_directory(name), text);
  }
  bool simt = false;
  std::vector<std::string> command = {compiler, "-std=c++17", "-I", directory.path};
  // The sanitizers' library is preloaded into this process, and the compiler has no use for it.
  if (*sanitizers) command.insert(command.begin(), {"env", "-u", "LD_PRELOAD"});
  for (int i = 0; i < option_count; i++) {
    std::string option = options[i];
    simt |= option == "--gpu-architecture=sm_01";
    if (option.rfind("-D", 0) == 0) command.push_back(option);
  }
  // Kernels may come of macros, so they are looked for behind the preprocessor. If that fails, the
  // compilation says why.
  auto preprocess = command;
  preprocess.insert(preprocess.end(), {"-E", "-P", "-o", in_directory("kernels"), in_directory("kernels.cpp")});
  if (written && run(preprocess, in_directory("log")) == 0) {
    for (auto &name : kernel_names(read_file(in_directory("kernels")))) {
      source += "OUTLIERSCOPE_KERNEL(" + name + ")\n";
    }
  }
  written = written && write_file(in_directory("source.cpp"), source);
  if (!written) {
    program.log = "Cannot write to " + directory.path + ": is the disk full?\n";
    return NVRTC_ERROR_INTERNAL_ERROR;
  }
  command.insert(command.end(), {"-march=native", "-fno-math-errno", "-Wall", "-Wno-unknown-pragmas",
                                 "-Wno-unused-variable", "-shared", "-fPIC", "-fvisibility=hidden",
                                 "-include", "kernel.h"});
  if (simt) command.push_back("-DOUTLIERSCOPE_SIMT");
  if (simt || *sanitizers) {
    command.insert(command.end(), {"-O1", "-g1"});
    std::istringstream flags(sanitizers);
    for (std::string flag; flags >> flag;) command.push_back(flag);
  } else {
    // What lets loops with sums and divisions vectorize, short of -ffast-math: infinities and NaN
    // keep their meaning.
    command.insert(command.end(), {"-O3", "-mprefer-vector-width=512", "-fno-trapping-math",
                                   "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math"});
  }
  command.insert(command.end(), {"-o", in_directory("kernel.so"), in_directory("source.cpp")});
  int status = run(command, in_directory("log"));
  program.log = read_file(in_directory("log"));
  if (status == -1 || status == 127) {
    program.log += "Cannot run the C++ compiler \"" + std::string(compiler) +
                   "\": install g++, or name another one in CXX\n";
  }
  if (status != 0) return NVRTC_ERROR_COMPILATION;
  program.binary = read_file(in_directory("kernel.so"));
  return program.binary.empty() ? NVRTC_ERROR_INTERNAL_ERROR : NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcGetCUBINSize(nvrtcProgram handle, size_t *size) {
  if (!handle) return NVRTC_ERROR_INVALID_PROGRAM;
  if (!size) return NVRTC_ERROR_INVALID_INPUT;
  *size = program_of(handle)->binary.size();
  return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcGetCUBIN(nvrtcProgram handle, char *binary) {
  if (!handle) return NVRTC_ERROR_INVALID_PROGRAM;
  if (!binary) return NVRTC_ERROR_INVALID_INPUT;
  const std::string &bytes = program_of(handle)->binary;
  memcpy(binary, bytes.data(), bytes.size());
  return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram handle, size_t *size) {
  if (!handle) return NVRTC_ERROR_INVALID_PROGRAM;
  if (!size) return NVRTC_ERROR_INVALID_INPUT;
  *size = program_of(handle)->log.size() + 1;
  return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcGetProgramLog(nvrtcProgram handle, char *log) {
  if (!handle) return NVRTC_ERROR_INVALID_PROGRAM;
  if (!log) return NVRTC_ERROR_INVALID_INPUT;
  const std::string &text = program_of(handle)->log;
  memcpy(log, text.c_str(), text.size() + 1);
  return NVRTC_SUCCESS;
}

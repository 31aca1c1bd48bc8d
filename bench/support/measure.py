"""Runs a command and prints one JSON line about it: wall seconds, peak memory, its exit status.

    python3 bench/support/measure.py CORES COMMAND [ARGUMENT...]

CORES is how many cores the command may use. The kernel counts the peak (maximum resident set of the
process), so it is exact and the same for every command. The command learns when it was started from
$BENCH_START, in seconds since 1970; what it prints becomes the field `output`.
"""

import json
import os
import sys
import tempfile
import time


def main():
    cores = sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryFile() as output:
        start = time.time()
        environment = {**os.environ, "BENCH_START": repr(start)}
        to_file = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], environment, file_actions=to_file)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.time() - start
        output.seek(0)
        text = output.read().decode()
    result = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "peakMiB": usage.ru_maxrss / 1024,
        "output": text,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

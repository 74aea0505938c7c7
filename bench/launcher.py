"""Starts programs for the measurements and says what each cost. A process of its own, and as small as Python goes.

The kernel counts the memory of the process that started a program as the program's own, so the runner itself may not start them.
Protocol: a request is a line of NUL-separated fields ``nice, folder, error file, output file, argv...`` without newlines; the
answer is a line ``status wall_s user_s system_s max_rss_kib``. Imports nothing that is not needed.
"""

import os
import sys
import time


def raise_priority(nice: int) -> None:
    """Set the priority of this session: where the kernel groups processes by session, that of a process counts within it only."""
    os.setsid()
    try:
        with open("/proc/self/autogroup", "w") as control:
            control.write(str(nice))
    except OSError:
        pass  # no such grouping, or not permitted: the process's own priority has to do


def main() -> None:
    """Answer requests until there are none."""
    raise_priority(int(sys.argv[1]))
    for line in sys.stdin.buffer:
        nice, folder, errors, output, *argv = line.rstrip(b"\n").split(b"\0")
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            try:
                os.chdir(folder)
                os.nice(int(nice))
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
                os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
                os.execvpe(argv[0], argv, os.environb)
            finally:
                os._exit(127)
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - start
        answer = (os.waitstatus_to_exitcode(status), wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss)
        print(*answer, flush=True)


main()

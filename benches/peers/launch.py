"""Runs a command and writes what it used: `launch.py FILE COMMAND...`.

The file gets one line: exit code, seconds of the clock, seconds of all processors, and the largest
resident set in kilobytes. Linux counts the resident set of the process that starts a program as its
own, so the one that measures must be small. This one imports nothing but the standard library.
"""

import os
import sys
import time

start = time.monotonic()
process = os.fork()
if process == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(process, 0)
seconds = time.monotonic() - start
code = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    file.write(f"{code} {seconds} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}\n")

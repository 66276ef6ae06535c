"""Replace this process by a program that ends when its parent ends.

`python tether.py PARENT_PID PROGRAM ARG…` asks the kernel to send SIGKILL when the parent ends (PR_SET_PDEATHSIG in
prctl(2), which survives execve), then executes PROGRAM under the same process id. SIGKILL, because a killed parent
cannot wait for a clean end, and all our processes may be killed at any time. On other systems than Linux it only
executes PROGRAM. It is run as a file and imports only the standard library, to start quickly.

The kernel watches the *thread* that forked: start children from a thread that lives as long as they should.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    """Execute the command, tied to the parent. Does not return."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the kernel watched it
            os._exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])

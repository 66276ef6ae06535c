"""Become another program that cannot outlive the process which started it.

`python tether.py PARENT_PID PROGRAM ARG…`: asks the kernel for SIGKILL at the parent's end (prctl(2), PR_SET_PDEATHSIG,
which survives execve), then *becomes* PROGRAM: same process, same id. SIGKILL, because a parent killed that way can no
longer wait for anybody's clean end, and everything here is made to be killed. Elsewhere than on Linux it only becomes
PROGRAM. Runs as a plain file with nothing but the standard library, to be quick.

The kernel watches the *thread* that forked: start children from one that lives as long as they may.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    """Never returns."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before the kernel knew
            os._exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])

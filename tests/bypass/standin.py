"""The native run's stand-in for the guard's processes: runtime, receiver and keeper that only wait, so that the same rows find the same parents."""

import os
import sys

if __name__ == "__main__":
    receiver = os.fork()
    if receiver == 0:
        keeper = os.fork()
        if keeper == 0:
            os.setsid()
            command = os.fork()
            if command == 0:
                os.setpgid(0, 0)
                os.execv(sys.argv[1], sys.argv[1:])
            os._exit(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]) & 0xFF)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1]) & 0xFF)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(receiver, 0)[1]) & 0xFF)

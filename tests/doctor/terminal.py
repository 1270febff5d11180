"""Runs a command in a terminal of its own and types there what it is told to, each time that the words before it are shown.

  terminal.py '[["words", "what is typed"], …]' command …

Prints as JSON what was shown, and the exit code, or the signal that ended the command as a negative number.
"""

import json
import os
import pty
import select
import signal
import sys
import time

# Seconds for all of it.
PATIENCE = 120


def main(steps, command):
    child, terminal = pty.fork()
    if child == 0:
        # Whoever was started in the background ignores it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(command[0], command)
    shown, until = "", time.monotonic() + PATIENCE
    while some := read(child, terminal, until):
        shown += some
        if steps and steps[0][0] in shown:
            os.write(terminal, steps.pop(0)[1].encode())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    json.dump({"shown": shown, "code": code, "untyped": steps}, sys.stdout)


def read(child, terminal, until):
    """What is shown next; nothing at the end, which Linux calls an error."""
    if not select.select([terminal], [], [], max(0, until - time.monotonic()))[0]:
        os.kill(child, signal.SIGKILL)
        sys.exit(f"it did not end within {PATIENCE} s")
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:
        return ""


main(json.loads(sys.argv[1]), sys.argv[2:])

"""Opens a pseudo-terminal and prints its path; answers each question at its first byte and says whether that was echoed.

Lines of input are the answers. For each question a line is printed: whether the terminal would have shown the answer
when the question began, and all that it showed until the answer was taken.
"""
import os
import pty
import sys
import termios

master, slave = pty.openpty()
print(os.ttyname(slave), flush=True)
for answer in sys.stdin:
    shown = os.read(master, 1)
    is_echoed = bool(termios.tcgetattr(slave)[3] & termios.ECHO)
    os.write(master, answer.rstrip("\n").encode() + b"\r")
    while not shown.endswith(b"\r\n"):
        shown += os.read(master, 4096)
    print("echo" if is_echoed else "no echo", repr(shown.decode()), flush=True)

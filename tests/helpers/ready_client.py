"""Stands for a Python process that `ready_server` forks: the same arguments, streams, passed
files and signals, the same end.

python -I -S ready_client.py ADDRESS ARGUMENTS…
"""

import json
import os
import signal
import socket
import sys

FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def main(address, *arguments):
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        asked = {"argv": arguments, "env": dict(os.environ), "cwd": os.getcwd()}
        files = [0, 1, 2, *_passed()]
        asked |= {"leads": os.getpgrp() == os.getpid(), "umask": _umask(), "files": files}
        text = json.dumps(asked).encode()
        socket.send_fds(server, [len(text).to_bytes(8, "big")], files)
        server.sendall(text)
        answers = server.makefile("r")
        pid = int(answers.readline() or 0)
        if not pid:
            sys.exit(f"{address} forks no process any more")
        for name in FORWARDED:
            signal.signal(getattr(signal, name), lambda number, _: os.kill(pid, number))
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):  # whoever reads from the process awaits its end alone
            os.dup2(null, number)
        for number in files[3:]:
            os.close(number)
        code = int(answers.readline() or 1)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _passed():
    """The pipes that multiprocessing gives a process that it starts."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if number > 2 and os.get_inheritable(number):
                found.append(number)
        except OSError:  # it was open for the listing alone
            pass
    return found


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


if __name__ == "__main__":
    main(*sys.argv[1:])

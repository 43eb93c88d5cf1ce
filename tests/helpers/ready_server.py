"""A process that has imported the libraries and forks: each fork goes on as a Python of its own,
with the arguments, the environment, the streams and the passed files of a `ready_client`.

python ready_server.py ADDRESS
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import selectors
import signal
import socket
import sys
import types

LIBRARIES = (
    "multiprocessing.spawn",  # which keeps the sys.executable of its import
    *("torch._dynamo", "torch.distributed.run", "torch.utils.tensorboard", "torchvision", "pytest"),
    *("fire", "tqdm", "PIL.Image", "matplotlib.figure"),
)
WITHOUT_GPU = ("numba", "nvidia.dali.fn")
"""Where there is a GPU, each fork imports them itself."""
MOST_FILES = 64
"""That a client passes on."""
READ_AT_IMPORT = ("TRITON_INTERPRET", "NUMBA_THREADING_LAYER", "PYTHONHASHSEED", "PYTHONOPTIMIZE")
"""Variables that libraries, or Python, read when they are loaded."""


def prepare():
    """Import what takes long, with the variables that `conftest` sets."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # CUDA would not survive a fork
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
    import torch

    names = LIBRARIES
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
        names += WITHOUT_GPU
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or "?"):
                raise
    gc.collect()
    gc.freeze()  # forks share the memory


class Server:
    def __init__(self, address):
        self._waiting, self._clients = selectors.DefaultSelector(), {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen(64)  # clients that come early wait

    def serve(self):
        """Fork for each client; returns in the forks alone: what is asked for, and its streams."""
        self._waiting.register(self._listening, selectors.EVENT_READ)
        while True:
            for key, _ in self._waiting.select():
                if key.data is not None:
                    self._end(key.fileobj, *key.data)
                elif key.fileobj in self._clients:
                    self._kill(key.fileobj)
                elif key.fileobj is self._listening and (fork := self._fork()) is not None:
                    return fork

    def _fork(self):
        client, _ = self._listening.accept()
        header, streams, _, _ = socket.recv_fds(client, 8, MOST_FILES)
        with client.makefile("rb") as file:
            text = file.read(int.from_bytes(header, "big"))
        if not text.endswith(b"}"):  # it was killed as it asked
            client.close()
            for stream in streams:
                os.close(stream)
            return None
        asked = json.loads(text)
        pid = os.fork()
        if not pid:
            for key in self._waiting.get_map().values():
                if key.data is not None:
                    os.close(key.fileobj)
            for held in (self._waiting, self._listening, client, *self._clients):
                held.close()
            return asked, streams
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"%d\n" % pid)
        self._clients[client] = pid, asked["leads"]
        self._waiting.register(client, selectors.EVENT_READ)
        self._waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, client))
        return None

    def _kill(self, client):
        """The client is gone, so its process goes, with its group where the client led one."""
        pid, leads = self._clients.pop(client)
        if leads:
            with contextlib.suppress(ProcessLookupError):  # it does not lead it yet
                os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        self._waiting.unregister(client)
        client.close()

    def _end(self, ended, pid, client):
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._waiting.unregister(ended)
        os.close(ended)
        if self._clients.pop(client, None):
            self._waiting.unregister(client)
            with contextlib.suppress(ConnectionError):
                client.sendall(b"%d\n" % code)
            client.close()


def become(asked, streams, plain):
    """Take the place of `python ARGUMENTS…`, as it was asked for; `plain` is sys.path of a Python
    without any."""
    import numpy as np
    import torch

    place(streams, asked["files"])
    end_with_parent()
    if asked["leads"]:
        os.setsid()
    os.umask(asked["umask"])
    os.chdir(asked["cwd"])
    differ = [name for name in READ_AT_IMPORT if os.environ.get(name) != asked["env"].get(name)]
    if differ and asked["argv"][:2] != ["-m", "pytest"]:  # whose conftest sets them alike
        sys.exit(f"{', '.join(differ)} changed after the libraries were loaded: use sys.executable")
    os.environ.clear()
    os.environ.update(asked["env"])
    if "PYTHON_EXEC" in os.environ:
        sys.executable = os.environ["PYTHON_EXEC"]
        multiprocessing.set_executable(sys.executable)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    np.random.seed()
    words = list(asked["argv"])
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    while words[0] in ("-u", "-B"):  # -B: multiprocessing passes on what the server was given
        unbuffered |= words.pop(0) == "-u"
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
        if number:
            stream.reconfigure(write_through=unbuffered, line_buffering=number == 2 or None)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    first = {"-m": os.getcwd(), "-c": ""}.get(words[0], os.path.dirname(os.path.abspath(words[0])))
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *given, *plain]
    run(words)


def place(files, numbers):
    """Open files get the numbers under which the client had them."""
    above = max(*files, *numbers) + 1
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, above) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def run(words):
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        runpy._run_module_as_main(words[1])
        return
    if words[0] == "-c":
        sys.argv[:] = ["-c", *words[2:]]
        code = compile(words[1], "<string>", "exec")
    else:
        sys.argv[:] = words
        main.__file__ = words[0]
        with open(words[0], "rb") as file:
            code = compile(file.read(), words[0], "exec")
    exec(code, main.__dict__)


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


if __name__ == "__main__":
    end_with_parent()
    own = [os.path.dirname(os.path.abspath(__file__))]
    given = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    own_path = [path for path in sys.path if path not in (*own, *given)]
    server = Server(sys.argv[1])
    prepare()
    become(*server.serve(), own_path)

"""Tasks for the processes of a pool, which import them by name."""

import os
import pickle
import signal
import time


def slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number * number


def die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def interrupt_yourself(number):
    os.kill(os.getpid(), signal.SIGINT)
    return number


def refuse(number):
    if number == 5:
        raise KeyError("five")
    return bytes(1 << 20)  # more than a pipe holds


class Stubborn(Exception):
    def __reduce__(self):
        raise TypeError("it does not travel")


def refuse_stubbornly(number):
    raise Stubborn("why")


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def same(task):
    return task


def several_buffers(number):
    # later results wait for earlier ones, and for slots of memory
    time.sleep(0.01 * (number % 3 == 0))
    # the last has no room beside the others: it comes as bytes
    sizes = (number + 1, 5 << 20, 0, 5 << 20)
    return number, [pickle.PickleBuffer(bytes([number % 251]) * size) for size in sizes]

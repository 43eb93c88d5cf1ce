"""What the jobs of `fastneg.recipes.study_jobs` do in its tests."""

import os
import signal
import time

from fastneg.config import ConfigError


def square(number):
    return number * number, None


def where(number):
    return os.getpid(), None


def fail(number):
    if number == 1:
        raise ConfigError("task 1 is wrong")
    if number == 2:
        raise ZeroDivisionError("a bug")
    return number, None


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def until_told(folder):
    """Waits for SIGTERM as a training does, and leaves a file then."""
    told = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    (folder / f"{os.getpid()}.began").touch()
    while not told:
        time.sleep(0.02)
    (folder / f"{os.getpid()}.ended").touch()
    return None, told[0]


def first_or_until_told(task):
    """The first task ends when the other has begun."""
    folder, number = task
    if number:
        return until_told(folder)
    while not list(folder.glob("*.began")):
        time.sleep(0.02)
    return number, None

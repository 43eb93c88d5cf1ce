"""Work in processes. The progress of a whole job: test_encode.py."""

import os
import signal
import time

import pytest

from fastneg.data import BetonError
from fastneg.data.pool import in_order


def _slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number * number


def _die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _interrupt_yourself(number):
    os.kill(os.getpid(), signal.SIGINT)
    return number


def test_an_interrupt_is_the_parents_business():
    assert list(in_order(_interrupt_yourself, range(4), workers=2)) == [0, 1, 2, 3]  # Ctrl-C reaches idle workers too


def test_results_come_in_order_and_a_dead_worker_is_an_error():
    assert list(in_order(_slow_first, range(20), workers=2)) == [i * i for i in range(20)]
    with pytest.raises(BetonError, match="worker process died"):
        list(in_order(_die, range(20), workers=2))

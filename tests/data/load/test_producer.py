"""Items come in order and bounded ahead; errors surface where they are taken; no wait is
endless."""

import threading
import time

import pytest

from fastneg.data.load.producer import Producer


def test_items_come_in_order_and_only_so_many_ahead():
    made = []

    def items():
        for i in range(6):
            made.append(i)
            yield i

    producer = Producer(items(), 60, "an item", 2)
    taken = iter(producer)
    assert next(taken) == 0
    time.sleep(0.3)
    assert len(made) <= 4  # one taken, two waiting, one in hand
    assert list(taken) == [1, 2, 3, 4, 5]


def test_an_error_is_raised_where_the_items_are_taken():
    def items():
        yield 1
        raise ValueError("broken")

    taken = iter(Producer(items(), 60, "an item", 2))
    assert next(taken) == 1
    with pytest.raises(ValueError, match="broken"):
        next(taken)


def test_closing_ends_the_thread_and_closes_the_generator():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    before = threading.active_count()
    producer = Producer(items(), 60, "an item", 2)
    next(iter(producer))
    producer.close()
    assert closed == ["fastneg-loader"] and threading.active_count() == before


def test_a_wait_that_is_too_long_says_for_what():
    release = threading.Event()

    def items():
        release.wait(60)
        yield 0

    producer = Producer(items(), 0.2, "the next batch of x.beton", 2)
    with pytest.raises(
        TimeoutError,
        match=r"Waited 0 s for (the next batch|the thread that makes the next batch) of x\.beton",
    ):
        next(iter(producer))
    release.set()

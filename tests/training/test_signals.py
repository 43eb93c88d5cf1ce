"""The first signal is noted, those right after it are the same, a later one does what it does
elsewhere (fastneg.training.signals)."""

import os
import signal

import pytest

from fastneg.training import signals


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where the tests run in the background of a shell, which ignores it
    there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_counts_only_some_time_after_the_first(monkeypatch, interruptible):
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    with signals.Signals() as noted:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert noted.received == signal.SIGTERM
        now += 2 * signals.SAME_WITHIN_S
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

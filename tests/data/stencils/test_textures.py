"""Textures of the built-in set: told apart by their spectra; one set draws unseen ones."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from fastneg.data.stencils import (
    TEXTURES,
    UNSEEN_TEXTURES,
)
from fastneg.data.stencils.textures import TEXTURES as FUNCTIONS
from fastneg.data.stencils.textures import UNSEEN_TEXTURES as UNSEEN_FUNCTIONS
from helpers.stencil_sets import SPEC, accuracy, drawn


def called_textures(monkeypatch, set_name, count=40):
    called = set()

    def watched(name, function):
        def call(*arguments):
            called.add(name)
            return function(*arguments)

        return call

    for functions in (FUNCTIONS, UNSEEN_FUNCTIONS):
        for name, function in list(functions.items()):
            monkeypatch.setitem(functions, name, watched(name, function))
    drawn(set_name, count)
    return called


def test_unseen_set_draws_no_training_texture_and_training_no_unseen_one(monkeypatch):
    assert called_textures(monkeypatch, "unseen_texture") == set(UNSEEN_TEXTURES)
    monkeypatch.undo()
    assert called_textures(monkeypatch, "train") <= set(TEXTURES[: SPEC.shapes])
    monkeypatch.undo()
    assert called_textures(monkeypatch, "flat_colour") == set()


def test_textures_can_be_told_apart_by_their_power_spectra():
    spec = SPEC.replace(shapes=16, size=64)
    pixels, labels, _ = drawn("texture_only", 800, spec)
    assert (
        accuracy(
            np.stack([_spectrum(image) for image in pixels]),
            labels,
            RandomForestClassifier(100, random_state=0),
        )
        > 0.7
    )


def _spectrum(pixels):
    """Power by frequency, whatever the direction, and the histogram of grey levels, both free of
    contrast and polarity."""
    grey = pixels.mean(axis=2)
    grey = (grey - grey.mean()) / grey.std()
    power = (
        np.abs(
            np.fft.fftshift(
                np.fft.fft2(grey * np.hanning(len(grey))[:, None] * np.hanning(len(grey)))
            )
        )
        ** 2
    )
    y, x = np.mgrid[: len(grey), : len(grey)] - len(grey) // 2
    rings = np.minimum(np.hypot(x, y).astype(int), 24)
    profile = np.bincount(rings.ravel(), power.ravel()) / power.sum()
    peak = [power[rings == k].max() / power.sum() for k in range(25)]
    skew, tails = abs((grey**3).mean()), (grey**4).mean()
    return np.log(np.concatenate([profile, peak, [skew, tails]]) + 1e-6)

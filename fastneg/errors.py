"""Failures of which the message says what to do: a command tells them in one line."""

from __future__ import annotations

from fastneg.options import ConfigError


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged, or of another run."""


class WeightsError(CheckpointError):
    """Weights that cannot be read or do not fit the network.

    The message says what was found and what was expected.
    """


class WeightsOptionError(WeightsError, ConfigError):
    """An option that asks of weights what they do not hold: the command line was wrong."""


class TrainingError(Exception):
    """A run that cannot start or go on, for a reason that its user can mend."""


class BusyError(TrainingError):
    """Another training holds the run folder."""


class SettingsError(TrainingError, ConfigError):
    """Settings that a run cannot have, with its network, its processes or its folder: the command
    line was wrong."""

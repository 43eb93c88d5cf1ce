"""Failures of which the message says what to do: a command tells them in one line."""


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged, or of another run."""


class WeightsError(CheckpointError):
    """Weights that cannot be read or do not fit the network.

    The message says what was found and what was expected.
    """


class TrainingError(Exception):
    """A run that cannot start or go on, for a reason that its user can mend."""

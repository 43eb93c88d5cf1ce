"""What a test set is evaluated with: a run's encoder and classifier, and the command's options.

Legend: N images, F backbone features, C classes of the classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from fastneg.config import EvaluateConfig
from fastneg.data.beton.identity import content_key
from fastneg.evaluation.features import features_of
from fastneg.evaluation.linear import LinearClassifier
from fastneg.evaluation.view import View
from fastneg.runs.classifier import classifier_key
from fastneg.runs.embed import Features
from fastneg.runs.load import LoadedRun


@dataclass(frozen=True)
class Context:
    """The run that is evaluated, and how."""

    config: EvaluateConfig
    loaded: LoadedRun
    """The run's encoder, on `device`."""
    head: LinearClassifier
    categories: dict[str, Any] = field(default_factory=dict)
    """{category: class names} for sets whose classes are categories."""
    groups: dict[str, Any] | None = None
    """{group: class names} by which the classes of a set of textures are summed up."""
    clean_top1: float | None = None
    """Percent on the set val, where that was evaluated before: relative mCE needs it."""
    device: str | torch.device = "cpu"
    report: Callable[[str], Any] = print
    """Called with lines for a person."""

    @property
    def run(self) -> str:
        """The run folder."""
        return self.config.run

    @cached_property
    def classifier(self) -> str:
        """What tells the classifier from others: the field of that name of evaluation.jsonl."""
        return classifier_key(self.head.weight, self.head.bias)

    def computing(self) -> dict[str, Any]:
        """The device and the decoding threads, as the functions of this package take them."""
        return {"device": self.device, "threads": self.config.threads}


@dataclass(frozen=True)
class OpenedSet:
    """A test set that is open, as it is shown to the network."""

    name: str
    path: str
    """As it was named; `reader.path` is the file that is read."""
    reader: Any
    """`BetonReader`, or another with its interface."""
    view: View
    metric: str | None
    """The METRIC that was asked for; None: all that the set gives."""
    context: Context

    @cached_property
    def features(self) -> Features:
        """Of the images in this view, from RUN/features/ where they are stored."""
        context = self.context
        return features_of(
            context.run,
            context.loaded,
            self.reader,
            report=context.report,
            resize=self.view.side,
            **context.computing(),
        )

    @cached_property
    def logits(self) -> torch.Tensor:
        """(N, C) float32 on the CPU: a row for each of `features.index`."""
        return self.context.head.logits(self.features.features, self.context.device)

    def common(self) -> dict[str, Any]:
        """The fields that each line of evaluation.jsonl about this set begins with."""
        return {
            "set": self.name,
            "path": str(self.reader.path),
            "data": content_key(self.reader),
            "checkpoint": self.context.loaded.checkpoint,
            "classifier": self.context.classifier,
            **self.view.fields(),
            "skipped": len(self.features.skipped),
        }

    def tell(self, words: str) -> None:
        """Report a line for a person, under the set's name."""
        self.context.report(f"{self.name}: {words}")

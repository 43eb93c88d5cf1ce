"""What fastneg asks of a kind of negatives before any image is made, and the registry of kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastneg.registry import Registry, imported


class Negative:
    """A kind of non-semantic negatives: its options, their checks, and where its generator is.

    The annotated fields of a subclass are the options of the kind, each a field of `PretrainConfig`
    and a flag of `fastneg pretrain`, with bounds (`fastneg.options.option`) and a docstring under
    it. Where --negatives does not name the kind, an option with the default None must stay None.
    Any other one stands in every config, so that a run and its baseline differ in --negatives
    alone; only a command line that gives it is refused (`PretrainConfig.without_effect`).
    """

    name: ClassVar[str] = ""
    """What --negatives is given."""
    about: ClassVar[str] = ""
    """A few words for the help of --negatives."""
    generate: ClassVar[str | Callable[..., Any]] = ""
    """Makes the negatives of a batch, see `__call__`: "package.module:function", which is imported
    when it is needed, or the function itself (as a staticmethod)."""
    needs_another_image: ClassVar[bool] = False
    """It takes other images of the batch: a batch of one has none."""
    from_queue: ClassVar[bool] = False
    """It is a key of the queue, a feature and no image: methods with a queue draw it by themselves,
    and `generate` is not called."""

    def defaults(self, config: Any) -> dict[str, Any]:
        """{option: its value} of options that follow other fields where they are not given; always
        called, before `check_options`."""
        return {}

    def check_options(self, config: Any) -> None:
        """Raise `ConfigError` where options of the kind contradict each other; always called."""

    def settle(self, config: Any) -> dict[str, Any]:
        """{option: its value} of options that were left out and get a value in the config."""
        return {}

    def check(self, config: Any) -> None:
        """Raise `ConfigError` where options do not fit the rest; called where the kind is named."""

    def loader_options(self, config: Any) -> dict[str, Any]:
        """What `TrainLoader` is told so that a batch has what the generator takes."""
        return {}

    def evaluation_changes(
        self, config: Any, paired: bool, report: Callable[[str], object]
    ) -> dict[str, Any]:
        """Settings that must change for negatives of a test set, after the run's own were taken.

        Args:
            config: of the run, which need not have trained with this kind.
            paired: whether the test set pairs its images with textures.
            report: called with lines for a person.
        """
        return {}

    def facts(self, config: Any) -> dict[str, Any]:
        """What is written down beside figures that were measured with such negatives."""
        return {}

    def captions(self, batch: Any, config: Any, generator: Any) -> list[list[str]]:
        """What to say under each negative where they are shown, such as the size of its patches.

        Args:
            As of `__call__`; the generator is in the state that `__call__` gets it in.
        Returns:
            for each of N images M texts.
        """
        return [[""] * config.negatives_per_query for _ in batch.query]

    def __call__(self, batch: Any, config: Any, generator: Any) -> Any:
        """The negatives of a `ViewBatch`.

        Args:
            batch: `ViewBatch` of N images.
            config: `PretrainConfig`, M = config.negatives_per_query.
            generator: torch.Generator on the batch's device.
        Returns:
            (N, M, C, H, W) in the space of the views.
        """
        return imported(self.generate)(batch, config, generator)


NEGATIVES = Registry("negative", Negative, reserved=("none",))
"""{name: `Negative`}."""
register, unregister = NEGATIVES.register, NEGATIVES.unregister

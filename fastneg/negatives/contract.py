"""The interface of a kind of negatives without its generator, and the registry of kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastneg.registry import Registry, imported


class Negative:
    """A kind of non-semantic negatives: it declares its options, checks them, and names its
    generator.

    The annotated fields of a subclass are the options of the kind. Each is a field of
    `PretrainConfig` and a flag of `fastneg pretrain`, with bounds (`fastneg.options.option`) and a
    docstring under it. If --negatives does not name the kind, an option with the default None must
    stay None. Other options are in every config, so that a run and its baseline differ only in
    --negatives; a command line that gives such an option is refused
    (`PretrainConfig.without_effect`).
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
        """{option: value} for options that were not given and follow other fields. Always called,
        before `check_options`."""
        return {}

    def check_options(self, config: Any) -> None:
        """Raise `ConfigError` if options of the kind contradict each other. Always called."""

    def settle(self, config: Any) -> dict[str, Any]:
        """{option: value} for options that were not given and get a value in the config."""
        return {}

    def check(self, config: Any) -> None:
        """Raise `ConfigError` if options do not fit other settings. Called if --negatives names the
        kind."""

    def loader_options(self, config: Any) -> dict[str, Any]:
        """Options of `TrainLoader` that give a batch what the generator needs."""
        return {}

    def evaluation_changes(
        self, config: Any, paired: bool, report: Callable[[str], object]
    ) -> dict[str, Any]:
        """Changes to the run's settings for negatives of a test set.

        Args:
            config: that of the run, which need not have trained with this kind.
            paired: whether the test set pairs its images with textures.
            report: called with messages for the user.
        """
        return {}

    def facts(self, config: Any) -> dict[str, Any]:
        """Facts to store with figures that were measured with such negatives."""
        return {}

    def captions(self, batch: Any, config: Any, generator: Any) -> list[list[str]]:
        """Captions for negatives that are shown, such as the size of their patches.

        Args:
            As for `__call__`. The generator is in the same state as for `__call__`.
        Returns:
            M texts for each of N images.
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

"""The settings of `fastneg show`: those of a pre-training, and which images to draw."""

from __future__ import annotations

import dataclasses
from functools import cache

from fastneg.config.pretrain import PretrainConfig
from fastneg.options import ConfigError, option

ENDINGS = (".png", ".html")


def show_config():
    """The config of the command: its own fields, and those of `PretrainConfig` that are registered
    by now."""
    return _class(tuple(field.name for field in dataclasses.fields(PretrainConfig)))


@cache
def _class(names):
    @dataclasses.dataclass(frozen=True)
    class ShowConfig(PretrainConfig):
        """Draw the first images of a run with their views and negatives.

        For a run folder the settings are those of the run. For a .beton file they are those of
        --preset, by default moco_patch_in100. The flags of fastneg pretrain change them.
        """

        source: str = ""
        """The .beton file, which may be a URL, or a run folder."""
        out: str = ""
        """The file to write: NAME.png or NAME.html."""
        images: int = option(8, at_least=1, at_most=256)
        """Number of images to draw, from the beginning of the first batch."""

        def __post_init__(self):
            super().__post_init__()
            if not self.out.lower().endswith(ENDINGS):
                raise ConfigError(
                    f"OUT is {self.out}: a name that ends in {' or '.join(ENDINGS)} was expected."
                )

        @property
        def run(self):
            """The run folder, "" where the source is a .beton file."""
            return "" if self.source == self.data else self.source

        def settings(self):
            """The `PretrainConfig` of the run that is shown."""
            return PretrainConfig(**{name: getattr(self, name) for name in names})

    return ShowConfig

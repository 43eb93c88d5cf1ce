"""The view in which a test set is shown to the network.

Either resized and cropped as the run says, or whole, as the set was published.
"""

from __future__ import annotations

from typing import NamedTuple

from fastneg.config import ConfigError, PretrainConfig
from fastneg.counts import counted

PUBLISHED_PX = 224
"""Side of the images of model-vs-human's sets and of Stylized-ImageNet, as published."""
WHOLE = "none"


class View(NamedTuple):
    side: int
    """Pixels to which the shorter side is scaled before the central crop.

    It is the network's input itself where a set is shown whole.
    """
    resize: int | str
    """What a line of evaluation.jsonl says: that side, or "none"."""
    by: str
    """Who chose it: run, published or hand."""

    def fields(self):
        """The fields of a line of evaluation.jsonl."""
        return {"resize": self.resize, "resize_by": self.by}


def run_view(config: PretrainConfig) -> View:
    """The view that a run's settings give: its `eval_resize`."""
    return View(config.eval_resize, config.eval_resize, "run")


def whole_view(config: PretrainConfig, by: str = "published") -> View:
    """The whole image, no margin cut.

    It is taken pixel for pixel where its size is the network's, else scaled to it.
    """
    return View(config.image_size, WHOLE, by)


def chosen_view(wanted, published, config):
    """The view of a set.

    Args:
        wanted: "none", a number of pixels, or None for the set's own rule.
        published: `View` in which others see the set; None: as the run says.
        config: PretrainConfig of the run.
    Raises:
        ConfigError: fewer pixels than the network's input has.
    """
    if wanted is None:
        return run_view(config) if published is None else published
    if wanted == WHOLE:
        return whole_view(config, "hand")
    if wanted < config.image_size:
        raise ConfigError(
            f"resize={wanted} is below the {config.image_size} px of the network: the central crop "
            "would not fit."
        )
    return View(wanted, wanted, "hand")


def square_side(reader):
    """The side in pixels of a set's images; None where they are not all squares of one size."""
    side = int(reader.sizes[0, 0]) if len(reader.sizes) else 0
    return side if side and (reader.sizes == side).all() else None


def whole_if_published(reader, config):
    """The whole images of a set that has the published size; None where it has another."""
    return whole_view(config) if square_side(reader) == PUBLISHED_PX else None


def told_of_view(view, reader, config):
    """What to tell a person of a view; "" for the run's own."""
    if view.by == "run":
        return ""
    if view.resize != WHOLE:
        crop = f"{config.image_size}×{config.image_size}"
        return f"shorter side scaled to {view.side} px, then the central {crop}."
    fits = int((reader.sizes == config.image_size).all(1).sum())
    scaled = f"scaled to the {config.image_size} px of the network"
    how = "unresized and uncropped" if fits == len(reader) else f"whole, {scaled}"
    if 0 < fits < len(reader):
        how = f"whole, {counted(fits, 'image')} unresized and {len(reader) - fits} {scaled}"
    if view.by == "hand":
        return f"read {how}."
    height, width = reader.sizes[0]
    usual = f"resize={config.eval_resize} for the run's crop"
    return f"all images are {width}×{height} and read {how}, as others read such a set ({usual})."

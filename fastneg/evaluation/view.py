"""How a test set is shown to the network: resized and cropped as the run says, or whole, as the set was published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError
from fastneg.evaluation.categories import CATEGORIES_16
from fastneg.evaluation.sessions import conditions_of

PUBLISHED_PX = 224
"""Side of the images of cue conflict, edges, silhouettes, sketch, stylized and Stylized-ImageNet as they are published."""
WHOLE = "none"


class View(NamedTuple):
    side: int
    """Pixels to which the shorter side is scaled before the central crop; the network's input itself where a set is shown whole."""
    resize: int | str
    """What a line of evaluation.jsonl says: that side, or "none"."""
    by: str
    """Who chose it: run, published or hand."""

    def fields(self):
        """The fields of a line of evaluation.jsonl."""
        return {"resize": self.resize, "resize_by": self.by}


def run_view(config):
    """The view that a run's settings give: its `eval_resize`."""
    return View(config.eval_resize, config.eval_resize, "run")


def whole_view(config, by):
    """The whole image, no margin cut: pixel for pixel where its size is the network's, else scaled to it."""
    return View(config.image_size, WHOLE, by)


def view_of(wanted, published, config):
    """The view of a set.

    Args:
        wanted: "none", a number of pixels, or None for the set's own rule.
        published: whether the set is one that is read as it was published (see `is_published`).
        config: PretrainConfig of the run.
    Raises:
        ConfigError: fewer pixels than the network's input has.
    """
    if wanted is None:
        return whole_view(config, "published") if published else run_view(config)
    if wanted == WHOLE:
        return whole_view(config, "hand")
    if wanted < config.image_size:
        raise ConfigError(
            f"resize={wanted} is below the {config.image_size} px of the network: the central crop would not fit."
        )
    return View(wanted, wanted, "hand")


def is_published(name, reader, conflicting):
    """Whether a set is one that others read unresized: every image is 224×224, and it is a set of conflicting cues, one of model-vs-human
    (the 16 categories as classes, or its sessions), or called stylized.

    Args:
        name: of the set; a path with "styli[sz]ed" counts as well.
        reader: open `BetonReader`.
        conflicting: whether its cues conflict (see `texture_labels`).
    """
    if not (reader.sizes == PUBLISHED_PX).all():
        return False
    categories = bool(reader.classes) and set(reader.classes) <= set(CATEGORIES_16)
    words = (name, *Path(str(reader.path)).parts[-3:])
    stylised = any(re.search("styli[sz]ed", word, re.IGNORECASE) for word in words)
    return conflicting or categories or stylised or conditions_of(reader.names) is not None


def told_of_view(view, reader, config):
    """What to tell a person of a view; "" for the run's own."""
    if view.by == "run":
        return ""
    if view.resize != WHOLE:
        return f"shorter side scaled to {view.side} px, then the central {config.image_size}×{config.image_size}."
    fits = int((reader.sizes == config.image_size).all(1).sum())
    how = (
        "unresized and uncropped"
        if fits == len(reader)
        else f"whole, scaled to the {config.image_size} px of the network"
    )
    if 0 < fits < len(reader):
        how = f"whole, {fits} unresized and {len(reader) - fits} scaled to the {config.image_size} px of the network"
    if view.by == "hand":
        return f"read {how}."
    return f"published at {PUBLISHED_PX}×{PUBLISHED_PX} and read {how}, as others read it (resize={config.eval_resize} for the run's crop)."

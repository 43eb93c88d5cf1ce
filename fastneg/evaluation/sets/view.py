"""How a test set is shown to the network: resized and cropped as the run says, or whole, as the set
was published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError
from fastneg.counts import counted
from fastneg.evaluation.categories import CATEGORIES_16
from fastneg.evaluation.sets.named import texture_labels
from fastneg.evaluation.sets.sessions import conditions_of

PUBLISHED_PX = 224
"""Side of the images of cue conflict, edges, silhouettes, sketch, stylized and Stylized-ImageNet as
they are published."""
WHOLE = "none"


class View(NamedTuple):
    side: int
    """Pixels to which the shorter side is scaled before the central crop; the network's input
    itself where a set is shown whole."""
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
    """The whole image, no margin cut: pixel for pixel where its size is the network's, else scaled
    to it."""
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
            f"resize={wanted} is below the {config.image_size} px of the network: the central crop "
            "would not fit."
        )
    return View(wanted, wanted, "hand")


def is_published(name, path, reader):
    """Whether a set is one that others read unresized.

    Those are sets of square images of one size whose file names tell conflicting cues (such as
    cat7-elephant2.png), and sets of which every image is 224×224 and which are model-vs-human's
    (the 16 categories as classes, or its sessions), or are called stylized, or SIN.

    Args:
        name, path: of the set as it was named; either may say that it is stylized.
        reader: its open `BetonReader`, with labels or without.
    """
    side = int(reader.sizes[0, 0])
    if not (reader.sizes == side).all():
        return False
    # An int field texture is of our own making, as in the stencils: those are read as their kin.
    named = reader.labels is not None and "texture" not in reader.ints
    if named and texture_labels(reader) is not None:
        return True
    if side != PUBLISHED_PX:
        return False
    words = (name, *Path(path).parts[-2:])
    if any(re.search(r"styli[sz]ed|^sin\b", word, re.IGNORECASE) for word in words):
        return True
    categories = bool(reader.classes) and set(reader.classes) <= set(CATEGORIES_16)
    return categories or conditions_of(reader.names) is not None


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

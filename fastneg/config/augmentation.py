"""The recipes of views as data: lists of operations with their parameters. A user's file can hold
one too.

Operations stand in the order in which they are applied, each at most once; one that is missing is
not done.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from fastneg.options import ConfigError, nearest, reason_of

RATIO, SIGMA = (3 / 4, 4 / 3), (0.1, 2.0)

AUGMENTATIONS = {
    "crop_flip": [{"op": "crop"}, {"op": "flip"}],
    # He et al. 2020, arXiv:1911.05722; there grayscale comes before the jitter, here always after
    # it.
    "moco_v1": [
        {"op": "crop"},
        {
            "op": "jitter",
            "p": 1.0,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.4,
        },
        {"op": "gray", "p": 0.2},
        {"op": "flip", "p": 0.5},
    ],
    "moco_v2": [
        {"op": "crop"},
        {
            "op": "jitter",
            "p": 0.8,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.1,
        },
        {"op": "gray", "p": 0.2},
        {"op": "blur", "p": 0.5, "sigma": SIGMA},
        {"op": "flip", "p": 0.5},
    ],
    # Chen et al. 2020, arXiv:2002.05709, appendix A, at strength 1.
    "simclr": [
        {"op": "crop"},
        {
            "op": "jitter",
            "p": 0.8,
            "brightness": 0.8,
            "contrast": 0.8,
            "saturation": 0.8,
            "hue": 0.2,
        },
        {"op": "gray", "p": 0.2},
        {"op": "blur", "p": 0.5, "sigma": SIGMA},
        {"op": "flip", "p": 0.5},
    ],
    # The same for CIFAR-10, appendix B.9: strength 0.5, and no blur.
    "simclr_small": [
        {"op": "crop"},
        {
            "op": "jitter",
            "p": 0.8,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
            "hue": 0.1,
        },
        {"op": "gray", "p": 0.2},
        {"op": "flip", "p": 0.5},
    ],
    # For small images of things whose colour says nothing, such as stencils: with MoCo v2's mild
    # changes the tint alone would tell two images apart. No blur: at 64 px a blur of sigma 2 hides
    # what one of sigma 7 hides at 224 px.
    "colour_invariant": [
        {"op": "crop"},
        {
            "op": "jitter",
            "p": 1.0,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.8,
            "hue": 0.5,
        },
        {"op": "gray", "p": 0.5},
        {"op": "flip", "p": 0.5},
    ],
}
"""The recipes of --views. The area of their crops is --crop_min to --crop_max."""
LINEAR_PROBE = [{"op": "crop", "area": (0.08, 1.0)}, {"op": "flip", "p": 0.5}]
"""What the linear probe on crops and fine-tuning train on."""
EVALUATION = {"resize": 256 / 224}
"""What features and accuracies are taken of: the shorter side resized to `resize` times the view
(or --eval_resize), the centre cut out, values normalised with --mean and --std, as training views.
"""

SHARE, AREA, POSITIVE = (0.0, 1.0), (1e-9, 1.0), (1e-9, 100.0)
OPERATIONS = {
    "crop": {"area": (None, AREA), "ratio": (RATIO, POSITIVE)},
    "jitter": {
        "p": (1.0, SHARE),
        "brightness": (0.0, SHARE),
        "contrast": (0.0, SHARE),
        "saturation": (0.0, SHARE),
        "hue": (0.0, (0.0, 0.5)),
    },
    "gray": {"p": (1.0, SHARE)},
    "blur": {"p": (1.0, SHARE), "sigma": (SIGMA, (1e-9, 5.0))},
    "flip": {"p": (0.5, SHARE)},
}
"""{operation: {parameter: (its default, (least, most))}}, in the order in which they are applied. A
pair as default: a pair is expected."""
PAIRS = ("area", "ratio", "sigma")


@dataclass(frozen=True)
class Augmentation:
    """One recipe as numbers, in torchvision's terms and order: crop, colour jitter, grayscale,
    blur, flip."""

    brightness: float = 0.0
    """Factor from U(1 - brightness, 1 + brightness)."""
    contrast: float = 0.0
    """Factor likewise. DALI's pivot is mid-gray (128), not the image's mean gray as in
    torchvision."""
    saturation: float = 0.0
    """Factor likewise."""
    hue: float = 0.0
    """Turn from U(-hue, hue), in whole turns of the colour circle (with DALI a rotation in YIQ, not
    in HSV as in torchvision)."""
    jitter_p: float = 0.0
    """Probability of the four changes above."""
    gray_p: float = 0.0
    """Probability of losing all colour."""
    blur_p: float = 0.0
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = SIGMA
    """Its standard deviation in pixels of the view, drawn uniformly."""
    flip_p: float = 0.5
    """Probability of a horizontal flip."""
    ratio: tuple[float, float] = RATIO
    """Aspect ratio of the crop, width over height, drawn log-uniformly."""
    area: tuple[float, float] | None = None
    """Smallest and largest share of the image's area in the crop, drawn uniformly; None: the loader
    says."""


def augmentation_of(recipe):
    """The `Augmentation` of a name of AUGMENTATIONS or of a list of operations; ConfigError says
    what is wrong with it."""
    if isinstance(recipe, str):
        if recipe not in AUGMENTATIONS:
            raise ConfigError(
                f"--views is {recipe!r}: {', '.join(AUGMENTATIONS)}, or a file NAME.json "
                f"of operations, was expected{nearest(recipe, AUGMENTATIONS)}"
            )
        recipe = AUGMENTATIONS[recipe]
    if not isinstance(recipe, (list, tuple)) or not all(
        isinstance(step, dict) and "op" in step for step in recipe
    ):
        raise ConfigError(
            'An augmentation is a list of operations, such as [{"op": "crop"}, {"op": "flip", '
            '"p": 0.5}]: this is none.'
        )
    names = [step["op"] for step in recipe]
    if unknown := [name for name in names if name not in OPERATIONS]:
        raise ConfigError(
            f"The augmentation has the operation {unknown[0]!r}: {', '.join(OPERATIONS)} were "
            "expected."
        )
    if names != [name for name in OPERATIONS if name in names] or "crop" not in names:
        raise ConfigError(
            f"The augmentation has the operations {', '.join(names) or 'none'}: crop first, then "
            f"each of {', '.join(list(OPERATIONS)[1:])} at most once and in this order, was "
            "expected: it is the order in which they are applied."
        )
    found = {step["op"]: _parameters(step) for step in recipe}
    fields = {
        f"{name}_p": found.get(name, {}).pop("p", 0.0)
        for name in ("jitter", "gray", "blur", "flip")
    }
    fields |= {"blur_sigma": found["blur"].pop("sigma")} if "blur" in found else {}
    return Augmentation(
        **fields, **{name: value for own in found.values() for name, value in own.items()}
    )


def read_augmentation(path):
    """The list of operations in a JSON file, checked."""
    try:
        with open(path, encoding="utf-8") as file:
            recipe = json.load(file)
    except OSError as error:
        raise ConfigError(f"--views {path} cannot be read: {reason_of(error)}.") from error
    except ValueError as error:
        raise ConfigError(f"--views {path} cannot be read as JSON: {error}.") from error
    try:
        augmentation_of(None if isinstance(recipe, str) else recipe)
    except ConfigError as error:
        raise ConfigError(f"--views {path}: {error}") from error
    return tuple(recipe)


def _parameters(step):
    """All parameters of an operation, those that are not given at their defaults."""
    name, known = step["op"], OPERATIONS[step["op"]]
    if unknown := set(step) - set(known) - {"op"}:
        raise ConfigError(
            f"The operation {name} has the parameter {min(unknown)!r}: {', '.join(known)} were "
            "expected."
        )
    values = {}
    for parameter, (default, (least, most)) in known.items():
        value = step.get(parameter, default)
        each = value if parameter in PAIRS and isinstance(value, (list, tuple)) else (value,)
        numbers = all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and least <= one <= most
            for one in each
        )
        if value is not default and not (
            numbers
            and (len(each) == 2 and each[0] <= each[1] if parameter in PAIRS else len(each) == 1)
        ):
            wanted = "two numbers, the smaller one first," if parameter in PAIRS else "a number"
            raise ConfigError(
                f"{parameter} of the operation {name} is {value!r}: {wanted} from {least:g} to "
                f"{most:g} was expected."
            )
        values[parameter] = tuple(map(float, value)) if isinstance(value, (list, tuple)) else value
    return values

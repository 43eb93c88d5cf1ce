"""The 19 corruptions of ImageNet-C, Tiny-ImageNet-C and CIFAR-10-C written a second time: one image
at a time, in NumPy.

They follow the published definitions with the libraries that these use: SciPy, scikit-image,
OpenCV, Pillow. Nothing is shared with the package under test. What is random is passed in; each
formula says what it takes. ImageMagick's motion blur is written out.
Source: Hendrycks and Dietterich 2019, arXiv:1903.12261, and the authors' programs for 224, 64 and
32 px.
Legend: `x` is an (H, H, 3) float64 image in 0 … 1 on the 8-bit grid; a result is in grey levels, 0
… 255, before uint8 cuts it.
"""

import io

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color

_SMALL_ZOOM = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
CONSTANTS = {
    224: {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "spatter": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        "jpeg_compression": (25, 18, 15, 10, 7),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        # alpha, sigma, reach of the affine map, in pixels of a 224 px image
        "elastic_transform": (
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
    },
    64: {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": (250, 100, 50, 30, 15),
        "impulse_noise": (0.01, 0.02, 0.05, 0.08, 0.14),
        "speckle_noise": (0.15, 0.2, 0.25, 0.3, 0.35),
        "gaussian_blur": (0.5, 0.75, 1, 1.25, 1.5),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "zoom_blur": _SMALL_ZOOM,
        "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        "jpeg_compression": (65, 58, 50, 40, 25),
        "pixelate": (0.9, 0.8, 0.7, 0.6, 0.5),
        # as shares of the side
        "elastic_transform": (
            (0, 0, 0.08),
            (0.05, 0.3, 0.06),
            (0.1, 0.08, 0.06),
            (0.1, 0.03, 0.03),
            (0.16, 0.03, 0.02),
        ),
    },
    32: {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.1),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _SMALL_ZOOM,
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        "jpeg_compression": (80, 65, 58, 50, 40),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "elastic_transform": (
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
    },
}


def published(name, pixels, severity, table, drawn=()):
    """One (H, H, 3) uint8 image under a corruption: float64 grey levels in 0 … 255, before they are
    cut to uint8.

    Args:
        table: 224, 64 or 32: whose constants.
        drawn: arrays of random numbers, as the formula says.
    """
    constant = CONSTANTS[table][name][severity - 1]
    if name == "elastic_transform":
        constant = [part * len(pixels) / (224 if table == 224 else 1) for part in constant]
    return np.clip(globals()[name](pixels / 255, constant, *drawn), 0, 255)


def gaussian_noise(x, deviation, normal):
    return (x + deviation * normal) * 255


def speckle_noise(x, deviation, normal):
    return (x + x * deviation * normal) * 255


def impulse_noise(x, amount, uniform):
    """uniform in 0 … 1: the lowest `amount` is struck, half of it black, half of it white."""
    return np.select([uniform < amount / 2, uniform < amount], [0, 1], x) * 255


def _blurred(x, sigma):
    return np.stack(
        [
            ndimage.gaussian_filter(x[..., c], sigma, mode="nearest", truncate=4)
            for c in range(x.shape[-1])
        ],
        -1,
    )


def gaussian_blur(x, sigma):
    return _blurred(x, sigma) * 255


def glass_blur(x, constant, rounds):
    """rounds: (rounds, 2, H, H) whole numbers, how far down and how far right of a pixel its
    partner is."""
    sigma, reach, count = constant
    side, levels = len(x), np.uint8(_blurred(x, sigma) * 255 + 1e-3)
    assert len(rounds) == count
    inside = np.arange(side * side).reshape(side, side)[
        reach + 1 : side - reach + 1, reach + 1 : side - reach + 1
    ]
    pixels = list(levels.reshape(-1, 3))
    for down, right in rounds:
        partner = (np.arange(side * side) + (down * side + right).ravel()).tolist()
        for place in inside.ravel()[::-1].tolist():  # from the last pixel to the first
            # The published swap goes through NumPy's views: the pixel gets its partner's value, and
            # the partner keeps it.
            pixels[place] = pixels[partner[place]]
    return _blurred(np.reshape(pixels, x.shape) / 255, sigma) * 255


def defocus_blur(x, constant):
    radius, alias = constant
    reach, aperture = (8, 3) if radius <= 8 else (radius, 5)
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disk = np.float32(distance <= radius)
    disk = cv2.GaussianBlur(disk / disk.sum(), (aperture, aperture), sigmaX=alias)
    return (
        np.dstack([cv2.filter2D(np.ascontiguousarray(x[..., c]), -1, disk) for c in range(3)]) * 255
    )


def _smeared(levels, radius, sigma, degrees):
    """MotionBlurImage of ImageMagick 6, from 8-bit levels (H, H, C) to such, which it cuts."""
    rows, columns = np.mgrid[: len(levels), : len(levels)]
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    down, right = (
        np.ceil(taps * turn(np.deg2rad(degrees)) - 0.5).astype(int) for turn in (np.sin, np.cos)
    )
    out = 0
    for weight, dy, dx in zip(weights / weights.sum(), down, right, strict=True):
        out = (
            out
            + weight
            * levels[
                np.clip(rows + dy, 0, len(levels) - 1), np.clip(columns + dx, 0, len(levels) - 1)
            ]
        )
    return np.floor(out + 1e-3)


def motion_blur(x, constant, degrees):
    return _smeared(x * 255, *constant, degrees)


def _zoomed(x, factor):
    side = len(x)
    part = int(np.ceil(side / factor))
    first = (side - part) // 2
    large = ndimage.zoom(
        x[first : first + part, first : first + part], (factor, factor, 1), order=1
    )
    first = (len(large) - side) // 2
    return large[first : first + side, first : first + side]


def zoom_blur(x, constant):
    factors = np.arange(1, *constant)
    return (x + sum(_zoomed(x, factor) for factor in factors)) / (len(factors) + 1) * 255


def fog(x, constant, uniform):
    """uniform: as `_plasma` takes it."""
    amount, decay = constant
    side = 1 << (len(x) - 1).bit_length()
    haze = _plasma(side, decay, uniform)[: len(x), : len(x), None]
    return (x + amount * haze) * x.max() / (x.max() + amount) * 255


def _plasma(side, decay, uniform):
    """Diamond-square on a torus; uniform (side² - 1,) in -1 … 1, for each step the squares, the
    points beside, the points below."""
    field, step, wibble, left = np.zeros((side, side)), side, 100.0, uniform.astype(np.float64)
    while step > 1:
        half = step // 2
        on, between = np.arange(0, side, step), np.arange(half, side, step)
        corners = [(-half, -half), (-half, half), (half, -half), (half, half)]
        edges = [(-half, 0), (half, 0), (0, -half), (0, half)]
        for rows, columns, around in (
            (between, between, corners),
            (on, between, edges),
            (between, on, edges),
        ):
            mean = (
                sum(
                    field[np.ix_((rows + down) % side, (columns + right) % side)]
                    for down, right in around
                )
                / 4
            )
            drawn, left = left[: mean.size].reshape(mean.shape), left[mean.size :]
            field[np.ix_(rows, columns)] = mean + wibble**2 * drawn
        step, wibble = half, wibble / decay
    assert not left.size
    return (field - field.min()) / (field.max() - field.min())


def frost(x, constant, crop):
    """crop: (H, H, 3) in 0 … 1, of a photograph of frost."""
    return (constant[0] * x + constant[1] * crop) * 255


def snow(x, constant, normal, degrees):
    mean, deviation, zoom, threshold, radius, sigma, kept = constant
    flakes = _zoomed(mean + deviation * normal[0].astype(np.float64)[..., None], zoom)
    flakes = np.where(flakes < threshold, 0, np.clip(flakes, 0, 1))
    flakes = _smeared(np.uint8(flakes * 255), radius, sigma, degrees) / 255
    gray = x @ [0.299, 0.587, 0.114]
    pale = np.maximum(x, gray[..., None] * 1.5 + 0.5)
    return (kept * x + (1 - kept) * pale + flakes + flakes[::-1, ::-1]) * 255


def spatter(x, constant, normal):
    mean, deviation, sigma, threshold, strength, mud = constant
    layer = ndimage.gaussian_filter(
        mean + deviation * normal[0].astype(np.float64), sigma, mode="nearest", truncate=4
    )
    if mud:
        cover = ndimage.gaussian_filter(
            np.float32(layer > threshold), strength, mode="nearest", truncate=4
        )[..., None]
        cover = np.where(cover < 0.8, 0, cover)
        return x * (1 - cover) * 255 + cover * [63, 42, 20]
    # above 255 it begins again at 0
    layer = (np.where(layer < threshold, 0, layer) * 255).astype(int).astype(np.uint8)
    away = np.minimum(cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5), 20)
    away = cv2.equalizeHist(cv2.blur(away, (3, 3)).astype(np.uint8))
    lit = cv2.blur(
        cv2.filter2D(away, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])), (3, 3)
    )
    wet = layer.astype(np.float64) * lit
    return x * 255 + (strength * wet / wet.max())[..., None] * [175, 238, 238]


def contrast(x, factor):
    mean = x.mean((0, 1))
    return (mean + factor * (x - mean)) * 255


def brightness(x, added):
    hsv = color.rgb2hsv(x)
    return (
        color.hsv2rgb(np.dstack([hsv[..., 0], hsv[..., 1], np.clip(hsv[..., 2] + added, 0, 1)]))
        * 255
    )


def saturate(x, constant):
    hsv = color.rgb2hsv(x)
    return (
        color.hsv2rgb(
            np.dstack(
                [hsv[..., 0], np.clip(hsv[..., 1] * constant[0] + constant[1], 0, 1), hsv[..., 2]]
            )
        )
        * 255
    )


def _picture(x):
    return Image.fromarray(np.uint8(np.round(x * 255)))


def jpeg_compression(x, quality):
    file = io.BytesIO()
    _picture(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64)


def pixelate(x, share):
    small = int(len(x) * share)
    picture = _picture(x).resize((small, small), Image.Resampling.BOX)
    return np.asarray(picture.resize((len(x), len(x)), Image.Resampling.BOX), np.float64)


def elastic_transform(x, constant, moves, steps=None):
    """moves: (3, 2) pixels (x, y), within the reach of the affine map; steps: (2, H, H) in -1 … 1,
    for x and y."""
    (alpha, sigma, reach), side = constant, len(x)
    assert np.abs(moves).max() <= reach
    half, arm = side // 2, side // 3
    corners = np.float32(
        [[half + arm, half + arm], [half + arm, half - arm], [half - arm, half - arm]]
    )
    moved = warped(x, cv2.getAffineTransform(corners, corners + np.float32(moves)))
    if alpha == 0:
        return moved * 255.0
    right, down = (
        alpha * ndimage.gaussian_filter(step.astype(np.float64), sigma, mode="reflect", truncate=3)
        for step in steps
    )
    return _read(moved, np.mgrid[:side, :side] + [down, right], "reflect") * 255.0


def warped(x, matrix):
    """cv2.warpAffine with BORDER_REFLECT_101, without the grid of 1/32 pixel to which OpenCV before
    version 5 rounds."""
    rows, columns = np.mgrid[: len(x), : len(x)]
    back = cv2.invertAffineTransform(matrix)
    right, down = (a * columns + b * rows + c for a, b, c in back)
    return _read(x, [down, right], "mirror")


def _read(x, places, border):
    return np.dstack(
        [ndimage.map_coordinates(x[..., c], places, order=1, mode=border) for c in range(3)]
    )

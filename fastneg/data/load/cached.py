"""Images that are decoded once and kept on the device, and the views made from them.

Legend: K images of the data set, N of a batch, V views, H W pixels.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.errors import BetonError
from fastneg.data.load.pipeline import Decoder
from fastneg.data.load.quarantine import what_is_wrong, wrong_size
from fastneg.kernels.augment import AugmentParams, augment
from fastneg.kernels.crop_resize import crop_resize
from fastneg.kernels.host_copy import to_device

BATCH = 256
GIB = 1 << 30
CPU = torch.device("cpu")
SHARE = 0.5
"""Of the memory that is free, what the images may take."""


class CachedImages:
    """All images of a data set, and their textures where they are asked for, as uint8 on a device.

    They are decoded by the decoder for CPUs, whatever the device: the same pixels everywhere. On a
    GPU the current stream writes them: another one must wait for it.

    Args:
        reader: `BetonReader` or `BetonSet`.
        device: torch device.
        checks: `SampleChecks`, whose fields are kept; a sample that it refuses is a bad one.
        threads: decoding threads; 0 takes all cores.
    Attributes:
        bad: {index: reason} of the samples that cannot be used; their pixels are black.
    Raises:
        BetonError: the images are not all of one size, or do not fit into the free memory.
    """

    def __init__(self, reader, device, checks, *, threads=0):
        sizes = [_one_size(reader, field) for field in checks.fields]
        needed = 3 * len(reader) * sum(height * width for height, width in sizes)
        _check_room(needed, device, reader)
        self.bad = checks.refused(np.arange(len(reader)))
        self._pixels = {}
        for field, (height, width) in zip(checks.fields, sizes, strict=True):
            # Filled where it stays where that is the CPU; else sent there in parts.
            self._pixels[field] = torch.zeros(
                (len(reader), height, width, 3), dtype=torch.uint8, device=device
            )
            bad = _decode_all(reader, field, self._pixels[field], set(self.bad), threads)
            self.bad |= {index: checks.named(field, reason) for index, reason in bad.items()}
        self._main = checks.fields[0]

    def record_stream(self, stream):
        """Keep the memory until the stream has used it."""
        for pixels in self._pixels.values():
            pixels.record_stream(stream)

    def views(self, request, dtype, normalisation):
        """The tensors of a batch, as the loaders hand them out: its views, then its patches.

        Args:
            request: `Request` whose views are windows and whose params are given.
            dtype: of the views.
            normalisation: `Normalisation` of the views.
        """
        windows = [_window(view, "") for view in request.views]
        stored = TEXTURE_FIELD in self._pixels
        plain = windows[:-1] if stored else windows
        views = self._cut(self._main, request.index, plain, request.size)
        if stored:
            texture = self._cut(TEXTURE_FIELD, request.index, windows[-1:], request.size)
            views = torch.cat([views, texture])  # channels_last, as both are
        joined = AugmentParams(*map(torch.cat, zip(*request.params, strict=True)))
        made = augment(
            views,
            joined.to(views.device),
            dtype=dtype,
            max_sigma=request.max_sigma,
            **normalisation._asdict(),
        )
        return [*made.chunk(len(windows)), *self._patches(request)]

    def _patches(self, request):
        if request.patches is None:
            return []
        windows = [_window(request.patches, f"_patch{number}") for number in range(2)]
        side = int(request.patches["patch_size"][0, 0])
        return self._cut(self._main, request.index, windows, side).chunk(2)

    def _cut(self, field, index, windows, size):
        """(V N, 3, size, size) uint8, channels_last: the windows of the first view, then the
        others'."""
        pixels = self._pixels[field]
        send = lambda values: to_device(torch.from_numpy(values), pixels.device)
        return crop_resize(
            pixels.permute(0, 3, 1, 2),
            send(np.tile(index, len(windows))),
            send(np.concatenate(windows)),
            size,
        )


def _window(view, name):
    """(N, 4) float32 of what a pipeline is fed for a view."""
    return np.concatenate([view[f"roi_start{name}"], view[f"roi_end{name}"]], 1)


def _one_size(reader, field):
    """(height, width) of all images of a field."""
    sizes = reader.sizes_of(field)
    smallest, largest = sizes.min(0).tolist(), sizes.max(0).tolist()
    if smallest != largest:
        raise BetonError(
            f"{reader.path} holds images of {smallest[1]} to {largest[1]} pixels' width and "
            f"{smallest[0]} to {largest[0]} pixels' height: --cache device needs images of one "
            "size. Take --cache none."
        )
    return tuple(smallest)


def _check_room(needed, device, reader):
    free = _free_bytes(device)
    if needed > SHARE * free:
        raise BetonError(
            f"The images of {reader.path} take {needed / GIB:.2f} GiB as pixels, and {device} has "
            f"{free / GIB:.2f} GiB free, of which --cache device uses half at most: take --cache "
            "none."
        )


def _free_bytes(device):
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file)
    return int(found["MemAvailable"].split()[0]) * 1024


def _decode_all(reader, field, pixels, bad, threads):
    """Fill pixels (K, H, W, 3), but not of `bad` samples; {index: reason} of further bad ones."""
    size, found, every = np.array(pixels.shape[1:3]), {}, np.arange(len(pixels))
    decoder = Decoder(BATCH, threads)
    reader.will_need(every[:BATCH], field)
    for start in range(0, len(pixels), BATCH):
        numbers, following = every[start : start + BATCH], every[start + BATCH :][:BATCH]
        reader.will_need(following, field)
        encoded = {i: reader.encoded(i, field) for i in numbers.tolist() if i not in bad}
        try:
            images = decoder(list(encoded.values()))
        except RuntimeError:
            # DALI does not say which: all are tried alone, and the others decoded again
            wrong = {i: what_is_wrong(data, size, CPU) for i, data in encoded.items()}
            wrong = {i: reason for i, reason in wrong.items() if reason}
            if not wrong:
                raise
            found |= wrong
            encoded = {i: data for i, data in encoded.items() if i not in wrong}
            decoder = Decoder(BATCH, threads)
            images = decoder(list(encoded.values())) if encoded else []
        good = {}
        for number, image in zip(encoded, images, strict=True):
            if reason := wrong_size(image.shape, size):
                found[number] = reason
            else:
                good[number] = image
        if good:
            block = torch.from_numpy(np.stack(list(good.values())))
            pixels[torch.tensor(list(good)).to(pixels.device)] = block.to(pixels.device)
    return found

"""Samples that cannot be used: how they are found, and what stands in for them.

They are kept out of the batches, each with the reason. The next good sample of the file takes the
place of a bad one, whenever the bad one was found. So a run that is resumed sees the batches of the
run that was not interrupted, with the list of bad samples or without it.

What a GPU's decoder makes of a broken image is nobody's to say, and the others of the batch are at
its side. So an image is judged by its bytes and by the CPU's decoder, and the GPU's gets those
that passed.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg.counts import counted
from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.beton.identity import used_fields
from fastneg.data.errors import BetonError
from fastneg.data.images import decoded_size
from fastneg.data.jpeg import END, size_by_header
from fastneg.data.jpeg_check import check_markers
from fastneg.data.load.pipeline import decoding

CPU = torch.device("cpu")


class Quarantine:
    """The bad samples of a data set, so far as they are known.

    Args:
        reader: the data set.
        max_share: the share of its samples that may be bad; 0 refuses the first.
        known: {index: reason} of samples that were found before.
    """

    def __init__(self, reader, max_share=0.0, known=None):
        self.reader, self.max_share, self.bad = reader, max_share, dict(known or {})

    def add(self, found):
        """Take in {index: reason}; BetonError, and none of them is taken in, if there were more bad
        samples then than may be."""
        bad = {**self.bad, **found}
        count, total = len(bad), len(self.reader)
        if count > self.max_share * total:
            listed = "; ".join(
                f"{self.reader.describe(index)}: {reason}"
                for index, reason in list(bad.items())[:5]
            )
            more = f"; and {count - 5} more" if count > 5 else ""
            allowed = (
                f", {self.max_share:g} of them may be (--max_bad_share)" if self.max_share else ""
            )
            raise BetonError(
                f"{count} of {counted(total, 'sample')} cannot be used{allowed}: {listed}{more}. "
                "Run fastneg verify on the file."
            )
        self.bad = bad

    def replace(self, index):
        """Put the next good sample in the place of each bad one.

        Args:
            index: (n,) int64.
        Returns:
            (n,) int64, and {index: reason} of the bad samples that were met on the way.
        """
        met = {}
        if self.bad:
            index = index.copy()
            for place, sample in enumerate(index.tolist()):
                while sample in self.bad:
                    if len(met) == len(self.reader):
                        raise BetonError(f"No sample of {self.reader.path} can be used.")
                    met[sample] = self.bad[sample]
                    sample = (sample + 1) % len(self.reader)
                index[place] = sample
        return index, met


class SampleChecks:
    """Looks at samples before DALI gets them, and one by one after it failed.

    Args:
        reader: `BetonReader` or `BetonSet`.
        textures: whether each sample's texture is used too.
        check_crc: whether checksums are compared.
        device: as of `build_pipeline`.
    Raises:
        BetonError: the file holds no textures or no checksums, which are needed.
    """

    def __init__(self, reader, textures, check_crc, device):
        self._reader, self._check_crc, self._device = reader, check_crc, device
        if textures and TEXTURE_FIELD not in reader.image_fields:
            raise BetonError(
                f"{reader.path} holds no textures (no image field {TEXTURE_FIELD!r}): encode it "
                "with --textures, or let them be made from the images while training "
                "(--texture_source image)."
            )
        self.fields = used_fields(reader, textures)
        """The image fields that are used."""
        self._looked_at = np.zeros(len(reader), bool)
        if check_crc and any(reader.checksums_of(field) is None for field in self.fields):
            raise BetonError(
                f"{reader.path} holds no checksums, so they cannot be checked: encode it again, "
                "or leave check_crc off."
            )

    def refused(self, index):
        """{index: reason} of the samples that DALI is not given.

        Each sample's checksum is compared every time; its header, and whether its end is there, are
        looked at once.

        Args:
            index: (N,) int64.
        """
        bad = {}
        if self._check_crc:
            damaged = [
                int(i)
                for i in index
                if not all(self._reader.matches_checksum(i, field) for field in self.fields)
            ]
            bad = dict.fromkeys(damaged, "it fails its checksum, the file is damaged")
        for i in index[~self._looked_at[index]].tolist():
            for field in self.fields:
                if i not in bad and (reason := self._wrong_bytes(i, field)):
                    bad[i] = self.named(field, reason)
            self._looked_at[i] = i not in bad
        return bad

    def undecodable(self, request, *encoded):
        """{index: reason} of the samples of a batch that cannot be decoded: DALI names only a place
        in the batch, if at all.

        Args:
            request: the batch's `Request`.
            encoded: for the images, then the textures: a list of (bytes,) uint8, in the order of
                the request, or empty.
        """
        for device in dict.fromkeys((CPU, self._device)):
            if bad := self._undecodable(request, encoded, device):
                return bad
        return {}

    def _undecodable(self, request, encoded, device):
        bad = {}
        for field, samples in zip(self.fields, encoded, strict=False):
            sizes = self._reader.sizes_of(field)
            for i, data in zip(request.index.tolist(), samples, strict=True):
                if reason := what_is_wrong(data, sizes[i], device):
                    bad[i] = self.named(field, reason)
        return bad

    def _wrong_bytes(self, index, field):
        if self._reader.is_raw(index, field):
            return None
        data, size = self._reader.encoded(index, field), self._reader.sizes_of(field)[index]
        found = size_by_header(data)
        if found is None:
            # What is no plain JPEG is tried alone: in a batch, a header that DALI cannot read may
            # end the process (see `size_by_header`).
            return what_is_wrong(data, size, CPU)
        return wrong_size(found, size) or _cut(data)

    def named(self, field, reason):
        """A reason that says of which image of the sample it is."""
        return reason if field == self.fields[0] else f"its texture: {reason}"


def _cut(data):
    """Why a JPEG with a good header is not all there; None if it is.

    The walk through its markers takes twenty times as long as its header, and is spared where the
    last bytes are the end marker.
    """
    if bytes(data[-2:]) == END:
        return None
    try:
        check_markers(bytes(data))
    except BetonError as error:
        return f"it cannot be decoded ({error})"
    return None  # something follows the end


def what_is_wrong(encoded, size, device):
    """Why an image, alone, cannot be decoded as the pipeline decodes it; None if it can.

    Args:
        encoded: (bytes,) uint8.
        size: (height, width) that it should have.
        device: as of `build_pipeline`.
    """
    cuda = device.type == "cuda"
    pipe = decoding(
        "mixed" if cuda else "cpu",
        batch_size=1,
        num_threads=1,
        device_id=device.index if cuda else None,
        prefetch_queue_depth=1,
    )
    pipe.build()
    try:
        pipe.feed_input("encoded", [encoded])
        shape, _ = pipe.run()
    except RuntimeError:  # DALI says only that it failed; Pillow mostly knows why
        try:
            decoded_size(encoded.tobytes())
        except BetonError as error:
            return f"it cannot be decoded ({error})"
        return "DALI cannot decode it, though Pillow can"
    return wrong_size(shape.at(0), size)


def wrong_size(shape, size):
    """What to say of an image that is decoded to another size than the file says; None if it is
    not."""
    found, expected = [int(side) for side in shape[:2]], [int(side) for side in size]
    return (
        None
        if found == expected
        else f"it decodes to {found[1]}×{found[0]} pixels, the file says "
        f"{expected[1]}×{expected[0]}"
    )

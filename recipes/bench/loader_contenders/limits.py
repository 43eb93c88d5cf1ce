"""Contenders that make no views: upper bounds for the others."""

from __future__ import annotations

import torch

from fastneg.recipes.bench.loader_contenders.common import wait


def decode_only(data):
    """Decoding alone, with DALI: what no loader that decodes whole images can beat."""
    from nvidia.dali import fn, pipeline_def, types

    cuda = data.device == "cuda"

    @pipeline_def(exec_dynamic=True)
    def decoding():
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True)
        return fn.decoders.image(
            encoded,
            device="mixed" if cuda else "cpu",
            output_type=types.RGB,
            adjust_orientation=False,
        )

    pipe = decoding(
        batch_size=data.batch_size,
        num_threads=data.threads,
        device_id=0 if cuda else None,
        prefetch_queue_depth=1,
    )
    pipe.build()

    def epoch(number):
        count = len(data.reader) // data.batch_size * data.batch_size
        for first in range(0, count, data.batch_size):
            encoded = [data.reader.encoded(i) for i in range(first, first + data.batch_size)]
            pipe.feed_input("encoded", encoded)
            pipe.run()
        wait(data.device)
        return count

    return epoch


def copy_of_ready_tensors(data):
    """The limit: two views' worth of memory copied, nothing made."""
    dtype = torch.float16 if data.device == "cuda" else torch.float32
    ready = torch.zeros(
        data.batch_size, 3, data.view_size, data.view_size, dtype=dtype, device=data.device
    )
    ready = ready.to(memory_format=torch.channels_last)

    def epoch(number):
        batches = len(data.reader) // data.batch_size
        for _ in range(batches):
            for _ in range(2):
                ready.clone()
        wait(data.device)
        return batches * data.batch_size

    return epoch

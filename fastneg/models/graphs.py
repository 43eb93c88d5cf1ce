"""Passes of a network that cost the host less: compiled for the shapes of their input, or without
gradient as CUDA graphs, where the host starts one graph instead of each kernel.

Legend: N batch, D feature dimension, H W pixels.
"""

from __future__ import annotations

import torch

GRAPHS_PER_SIZE = 8
"""Graphs of one view size at most: with and without a gradient, in training and in evaluation, of a
batch and of several that pass together."""
WARM_UP = 3
"""Passes before the recording, in which libraries choose their algorithms and take their work
space."""


def compile_static(networks, sizes):
    """Compile modules in place, a graph for each shape of their input; names of weights stay.

    A graph of any shape, which torch makes of the second one unless told otherwise, is slower: its
    kernels know no sizes. Modules of one class share the limit of graphs, after which torch goes on
    without compiling, so it is raised to what they need.

    Args:
        networks: modules, or None in their places.
        sizes: how many sizes the images have in the run.
    """
    config = torch._dynamo.config
    # torch before 2.7 knows the limit by the second name alone.
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, name, max(getattr(config, name), GRAPHS_PER_SIZE * sizes))
    for network in networks:
        if network is not None:
            network.compile(dynamic=False)


class GraphedPass:
    """Calls a network through a CUDA graph, recorded once for each kind of input; the numbers are
    those of calling it.

    What a pass reads and changes in place stays where it is, so later changes are seen: of weights
    by the momentum update, of the running statistics of batch normalisation. Weights must not ask
    for gradients: autocast would keep their rounded copies from the recording.

    Args:
        network: images (N, 3, H, W) → features (N, D), on a CUDA device.
    """

    def __init__(self, network):
        self._network, self._recorded, self._pool = network, {}, None

    def __call__(self, images):
        """Features (N, D), in memory of their own; nothing waits for the device but the first call
        with another kind of images."""
        kind = (
            images.shape,
            images.dtype,
            self._network.training,
            torch.is_autocast_enabled(images.device.type),
        )
        if kind not in self._recorded:
            self._recorded[kind] = self._record(images)
        replay, given, features = self._recorded[kind]
        given.copy_(images)
        replay()
        return features.clone()

    @torch.no_grad()
    def _record(self, images):
        given = images.clone(memory_format=torch.channels_last)  # whatever the format of later ones
        before = [buffer.clone() for buffer in self._network.buffers()]
        replay, features = self._graph(lambda: self._network(given), images.device)
        # as if the warm-up had not been
        for buffer, value in zip(self._network.buffers(), before, strict=True):
            buffer.copy_(value)
        return replay, given, features

    def _graph(self, run, device):
        """(what replays the kernels that `run` starts, where its result then stands)."""
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream(device).wait_stream(stream)
        # One pool of memory for all graphs: none is replayed within another, and their results live
        # on in it.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # thread_local: the loader's threads and nccl's go on calling CUDA meanwhile, which is no
        # business of this recording.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            features = run()
        return graph.replay, features

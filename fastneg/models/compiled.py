"""torch.compile for networks whose input has a few shapes, known beforehand."""

from __future__ import annotations

import torch

GRAPHS_PER_SIZE = 8
"""Graphs of one view size at most: with and without a gradient, in training and in evaluation, of a
batch and of several that pass together."""


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

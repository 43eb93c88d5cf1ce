"""Non-semantic negatives: name → generator.

A generator is called with a `ViewBatch`, the settings and a torch.Generator on the batch's device, and returns (N, M, C, H, W) images in
the space of the views. To add one: a file here, and a line in NEGATIVES.
"""

from __future__ import annotations

from fastneg.negatives.patch import patch_negatives

NEGATIVES = {
    "patch": lambda batch, config, generator: patch_negatives(
        batch.query, config.negatives_per_query, (config.patch_min, config.patch_max), generator
    ),
}

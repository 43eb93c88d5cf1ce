"""Contrastive methods: METHODS[config.method](config) is the network of a run.

NAME.py holds what a method is told and what it can do (`Method`), NAME_torch.py its network: an
nn.Module built from the config. `forward(query_view, key_view, negatives, generator)` returns a
`MethodOutput`. `after_step(keys, progress)` follows the optimizer step: `keys` are those of all
processes (None where the method gives none), `progress` is the share of the run's steps before this
one. The network to keep is `query_encoder`.

To add a method: the two files, and the name in BUILT_IN. A method of a user's own registers itself
with `register`; docs/how-to/extend.md shows how.
"""

from importlib import import_module

from fastneg.methods.contract import METHODS, Method, register, unregister

BUILT_IN = ("moco", "byol", "simclr", "moco_v3", "supcon")
"""Files of this folder that register a method."""
for _name in BUILT_IN:
    import_module(f"{__name__}.{_name}")

__all__ = ["METHODS", "Method", "register", "unregister"]

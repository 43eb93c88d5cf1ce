"""Contrastive methods: name → class.

A method is a module built from the config; `forward(query_view, key_view, negatives, generator)`
returns a `MethodOutput` and `after_step(keys, progress)` follows the optimizer step: `keys` are
those of all processes (None where the method gives none), `progress` is the share of the run's
steps before this one. The network to keep is `query_encoder`. To add one: a file here, a line in
METHODS, and its name among the choices of `PretrainConfig.method`.
"""

from fastneg.methods.byol import BYOL
from fastneg.methods.moco import MoCo
from fastneg.methods.simclr import SimCLR

METHODS = {"moco": MoCo, "byol": BYOL, "simclr": SimCLR}

"""Contrastive methods: name → class.

A method is a module built from the config; `forward(query_view, key_view, negatives, generator)` returns a `MethodOutput` and
`after_step(keys)` follows the optimizer step. To add one: a file here, and a line in METHODS.
"""

from fastneg.methods.moco import MoCo

METHODS = {"moco": MoCo}

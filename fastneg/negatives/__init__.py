"""Non-semantic negatives: NEGATIVES[kind](batch, config, generator) makes those of one kind.

NAME.py holds the options of a kind, their checks and what it needs (`Negative`), NAME_torch.py its
generator. `batch.make_negatives` makes the negatives of all kinds that a config names.

To add a kind: the two files, and the name in BUILT_IN. A kind of a user's own registers itself with
`register`; docs/how-to/extend.md shows how.
"""

from importlib import import_module

from fastneg.negatives.contract import NEGATIVES, Negative, register, unregister

BUILT_IN = ("patch", "texture", "blur", "random_image", "queue_entry")
"""Files of this folder that register a kind."""
for _name in BUILT_IN:
    import_module(f"{__name__}.{_name}")

__all__ = ["NEGATIVES", "Negative", "register", "unregister"]

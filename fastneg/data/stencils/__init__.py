"""Stencils: a built-in set of images in which shape and texture are known, and agree as often as
asked.

Each class is a shape family with a texture of its own. In training an object wears its own texture
with probability rho; the test sets take the two cues apart. All images are procedural: image i of a
set depends on (spec, set, i) alone, not on how many are made or by how many processes.
"""

from fastneg.data.stencils.files import samples, write_beton, write_folder
from fastneg.data.stencils.render import (
    CLASSES,
    NO_TEXTURE,
    SETS,
    TEST_SETS,
    TEXTURES,
    UNSEEN_TEXTURES,
    StencilsSpec,
    render,
)

__all__ = [
    "CLASSES",
    "NO_TEXTURE",
    "SETS",
    "TEST_SETS",
    "TEXTURES",
    "UNSEEN_TEXTURES",
    "StencilsSpec",
    "render",
    "samples",
    "write_beton",
    "write_folder",
]

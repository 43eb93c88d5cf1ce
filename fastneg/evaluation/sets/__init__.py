"""Test sets: how the command line names them, and how they are stored, shown and scored.

- registry: what a kind of set tells of itself; `register` adds one
- on disk: beton, class_folders, sessions, imagenet_c, corruption_tree, cifar_c
- by content: cue_conflict, categories_16, stylized, sessions
- scored: labelled (with textures, cue_conflict), corrupted
"""

from fastneg.evaluation.sets.beton import BetonFiles
from fastneg.evaluation.sets.categories_16 import Categories16
from fastneg.evaluation.sets.cifar_c import CifarC
from fastneg.evaluation.sets.class_folders import ClassFolders
from fastneg.evaluation.sets.corruption_tree import CorruptionTree
from fastneg.evaluation.sets.cue_conflict import CueConflict
from fastneg.evaluation.sets.imagenet_c import ImageNetC
from fastneg.evaluation.sets.registry import KINDS, Figure, SetKind, register
from fastneg.evaluation.sets.sessions import Sessions
from fastneg.evaluation.sets.stylized import Stylized

KINDS += [
    CueConflict(),
    Categories16(),
    Stylized(),
    ImageNetC(),
    CifarC(),
    CorruptionTree(),
    Sessions(),
    ClassFolders(),  # any other folder
    BetonFiles(),  # any other path
]

__all__ = ["Figure", "SetKind", "register"]

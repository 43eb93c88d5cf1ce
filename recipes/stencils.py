"""fastneg stencils."""

from __future__ import annotations

import dataclasses
import json

from fastneg.config import default_workers
from fastneg.counts import counted
from fastneg.data import stencils
from fastneg.files import OutputError, output_folder, write_json
from fastneg.options import ConfigError, nearest

FACTS = "stencils.json"


def run_stencils(config):
    """Write the sets and say what they hold; 0 when all are there."""
    (out, found), spec = places(config), config.spec()
    out.mkdir(parents=True, exist_ok=True)
    _keep_facts(out / FACTS, spec)
    workers = config.workers or default_workers()
    write = stencils.write_beton if config.to == "beton" else stencils.write_folder
    for name, path in found.items():
        count = config.train if name == "train" else config.test
        write(spec, name, count, path, workers)
        print(f"{path}: {counted(count, 'image')}", flush=True)
    own = spec.rho + (1 - spec.rho) / spec.textures_used()
    print(
        f"{counted(spec.shapes, 'class')} of {spec.size}×{spec.size} px, "
        f"{counted(spec.textures_used(), 'texture')}; in train and in_domain {100 * own:.1f}% of "
        "the objects wear the texture of their class."
    )
    return 0


def places(config):
    """(OUT, {set: where it is to be written}); OutputError if one is there already."""
    out, ending = output_folder(config.out), ".beton" if config.to == "beton" else ""
    found = {name: out / f"{name}{ending}" for name in _chosen(config.sets)}
    if there := [str(path) for path in found.values() if path.exists()]:
        raise OutputError(
            f"{there[0]} is there already: it would be written over. Choose another OUT, or give "
            "--sets."
        )
    return out, found


def _chosen(sets):
    names = [name.strip() for name in sets.split(",") if name.strip()] or list(stencils.SETS)
    if unknown := [name for name in names if name not in stencils.SETS]:
        raise ConfigError(
            f"--sets has {unknown[0]!r}: some of {', '.join(stencils.SETS)} were expected"
            f"{nearest(unknown[0], stencils.SETS)}"
        )
    return dict.fromkeys(names)


def _keep_facts(path, spec):
    """Write down what all sets of a folder share; OutputError where it is another one's."""
    facts = dataclasses.asdict(spec)
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != facts:
            raise OutputError(f"{path} is of other stencils ({there}): choose another OUT.")
        return
    write_json(path, facts)

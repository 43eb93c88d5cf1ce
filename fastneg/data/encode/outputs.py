"""Which outputs the commands that make data sets may write: no input, and no file of another
program. Nothing is opened for writing here."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import numpy as np

from fastneg.data.beton.format import HEADER, VERSION
from fastneg.data.beton.sidecar import sidecar_path
from fastneg.data.encode.holdout import held_out_path
from fastneg.data.encode.sources import SUFFIXES, FolderFiles
from fastneg.data.file_names import split_names
from fastneg.files import (
    OutputError,
    is_below,
    linked_folders,
    output_file,
    output_folder,
    refuse_twice,
)
from fastneg.options import refuse_url


def named(*specs):
    """The paths that texts name, each a path, a comma list, a glob or a range; None names none."""
    paths = []
    for spec in filter(None, map(_text, specs)):
        whole = os.path.exists(spec)
        paths += [spec] if whole else [path for _, found in split_names(spec) for path in found]
    return paths


def named_data(*specs):
    """As `named`, of .beton files: with the sidecar of each."""
    return [each for path in named(*specs) for each in (path, str(sidecar_path(path)))]


def encode_outputs(config):
    """Where `encode` writes, as a list of Paths: OUT, with --holdout also OUT-holdout. Of a link,
    what it links to, so that the link stays.

    Args:
        config: EncodeConfig.
    Raises:
        OutputError: a file or the .json beside it is an input, or no file, or an image below SRC;
            or there is a file that is no .beton file by its name, nor by what it holds.
    """
    outs = [_beton_output(config, Path(config.out), "OUT")]
    if config.holdout is not None:
        outs.append(_beton_output(config, held_out_path(outs[0]), "the held-out file"))
        refuse_twice(dict(zip(("OUT", "the held-out file"), outs, strict=True)))
    return outs


def _beton_output(config, out, flag):
    source, inputs = _text(config.src), named(config.src, config.subset, config.class_names)
    inputs += named(config.textures) if config.textures != "synth" else []
    real = output_file(out, flag, inputs, harmless=_is_ours)
    _refuse_others(out, real, flag)
    _refuse_part(out, flag, source, [path for path in inputs if os.path.isdir(path)])
    notes = sidecar_path(out)
    if real != out and os.path.lexists(notes) and not _same(notes, sidecar_path(real)):
        raise OutputError(
            f"{flag} is {out}, a link to {real}, but {notes} is no link to {sidecar_path(real)}: "
            f"remove {notes}, or name {real} itself."
        )
    output_file(sidecar_path(real), f"{flag}.json", inputs, harmless=_is_ours)
    return real


def refuse_listed(config, out, sources):
    """OutputError if a file that the list SRC names is OUT or OUT.json.

    Args:
        config: EncodeConfig.
        out: as `encode_outputs` returned it.
        sources: the `Sources` of config.src; of a folder or of archives there is nothing to do.
    """
    if not isinstance(sources.read, FolderFiles) or os.path.isdir(config.src):
        return
    folder = os.path.dirname(_text(config.src))
    for flag, path in (("OUT", config.out), ("OUT.json", sidecar_path(out))):
        output_file(path, flag, (os.path.join(folder, place) for place in sources.places))


def textures_output(config):
    """The folder that `fastneg textures` writes into, as a Path; OutputError if it is SRC, lies in
    it or holds it, by links too."""
    out, source = Path(config.out), config.src
    refuse_url(source, "SRC", "copy the images to this machine, or give encode --textures synth")
    output_folder(out, "OUT", [source, *named(_list(config.subset))], apart_from=[source])
    if out.is_dir():
        for link in linked_folders(source):
            if is_below(out, link) or is_below(link, out):
                raise OutputError(
                    f"OUT is {out}, which the input {source} holds by the link {link}: textures "
                    "would become a part of it. Name another folder."
                )
    output_file(out / "textures.json", "OUT/textures.json", named(_list(config.subset)))
    return out


def refuse_linked_back(out, source, targets):
    """OutputError if a folder below OUT leads into SRC by a link.

    Args:
        targets: the files to write, relative to OUT.
    """
    for folder in dict.fromkeys(os.path.dirname(target) for target in targets):
        if os.path.isdir(where := os.path.join(out, folder)) and is_below(where, source):
            raise OutputError(
                f"{where} leads into the input {source} by a link: textures would become a part of "
                "it. Remove the link, or name another OUT."
            )


def _text(spec):
    return None if spec is None else os.fspath(spec)


def _list(subset):
    return None if subset == "imagenet100" else subset


def _is_ours(name):
    """Whether a file that lies among images is no image but a .beton file or what stands beside."""
    return name.endswith((".beton", ".beton.json"))


def _same(one, other):
    return os.path.realpath(one) == os.path.realpath(other)


def _refuse_others(out, real, flag):
    """OutputError if a file of another kind would be written over: of `encode *.tar` a shell makes
    `encode a.tar b.tar`.

    Args:
        real: out, or what it links to.
    """
    if real.suffix.lower() == ".beton" or not real.is_file():
        return
    with open(real, "rb") as file:
        first = file.read(HEADER.itemsize)
    ours = len(first) == HEADER.itemsize and np.frombuffer(first, HEADER)["version"][0] == VERSION
    if first and not ours:
        raise OutputError(
            f"{flag} is {out}, which is there and no .beton file: it would be written over. Name "
            "another file, or remove it."
        )


def _refuse_part(out, flag, source, folders):
    """OutputError if the next call would take OUT for a part of the source."""
    if Path(out).suffix.lower() in SUFFIXES:
        for folder in folders:
            if is_below(Path(os.path.abspath(out)).parent, folder):
                raise OutputError(
                    f"{flag} is {out}, which would lie in the input {folder} under the name of an "
                    "image: name it .beton, or write it elsewhere."
                )
    for part in map(str.strip, source.split(",")):
        if not os.path.exists(part) and PurePath(os.path.abspath(out)).match(os.path.abspath(part)):
            raise OutputError(
                f"{flag} is {out}, which SRC {part} would name too: give it a name that does not "
                "fit, such as one that ends in .beton."
            )

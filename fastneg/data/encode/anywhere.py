"""`encode` from URLs and to URLs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fastneg.config import ConfigError
from fastneg.data.beton.sidecar import sidecar_path
from fastneg.data.encode.archives import archive_paths
from fastneg.data.encode.encode import encode
from fastneg.data.encode.list_rows import LIST_SUFFIXES
from fastneg.data.encode.outputs import encode_outputs
from fastneg.data.encode.sources import find_sources
from fastneg.data.errors import BetonError
from fastneg.data.remote import RemoteFiles, is_remote, names_below, open_source, upload

WRITTEN = "fastneg-encode-"


def encode_anywhere(config, report=None):
    """As `encode`, of a source and an output that may be URLs.

    Images of a remote folder or list are read one by one, several side by side; those of remote tar
    archives in place. A file for a URL is written into the folder of temporary files (TMPDIR)
    first, which must have room for it.

    Raises:
        As `encode`. ConfigError: an option that needs local files.
    """
    if not (is_remote(config.src) or is_remote(config.out)):
        return encode(config, report=report)
    with tempfile.TemporaryDirectory(prefix=WRITTEN) as folder:
        sources, here = None, config
        if is_remote(config.out):
            here = config.replace(out=os.path.join(folder, config.out.rsplit("/", 1)[1]))
        if is_remote(config.src):
            sources = remote_sources(config, folder)
        summary = encode(here, sources=sources, report=report, told=config)
        if is_remote(config.out):
            where = config.out.rsplit("/", 1)[0]
            for path in encode_outputs(here):
                # the file last: where it is, its classes are
                for each in (sidecar_path(path), path):
                    upload(each, f"{where}/{each.name}")
    return summary


def remote_sources(config, folder):
    """The `Sources` of a remote SRC: of tar archives, or of a folder or list, whose names are laid
    out as empty files so that they are looked at as local ones are.

    Args:
        folder: an empty one, which must stay for as long as the sources are looked at alone.
    """
    if config.writer == "ffcv":
        raise ConfigError(f"--writer ffcv reads local files alone, SRC is {config.src}.")
    if archive_paths(config.src):
        return find_sources(config)
    is_list = Path(config.src).suffix.lower() in LIST_SUFFIXES
    url = config.src.rpartition("/")[0] if is_list else config.src.rstrip("/")
    tree = Path(folder) / "names"
    for name in names_below(url):
        place = Path(os.path.normpath(tree / name))
        if not place.is_relative_to(tree):
            raise BetonError(f"{url} holds the name {name}, which leads out of it.")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    source = tree
    if is_list:
        source = tree / config.src.rpartition("/")[2]
        with open_source(config.src) as file:
            source.write_bytes(file.read())
    try:
        found = find_sources(config.replace(src=str(source)))
    except (BetonError, ConfigError) as error:
        raise type(error)(str(error).replace(str(tree), url)) from error
    notes = [note.replace(str(tree), url) for note in found.notes]
    return found._replace(read=RemoteFiles(url), notes=notes)

"""Feature files for other programs: .npz and .parquet, written batch by batch.

A million images do not have to sit in memory: of .npz the features go to a temporary file first,
because an array's size stands before it; .parquet grows by row groups.

Legend: N images, F backbone features.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fastneg.config import ConfigError, UnfitError
from fastneg.files import write_atomically

ROW_GROUP = 8192
"""Images in a row group of .parquet; and of which names are turned into bytes at once."""
COPIED_BYTES = 1 << 22


def write_features(path, parts: Iterable, names=None, classes=None, about=None):
    """Write features batch by batch; the file is whole or absent.

    Args:
        path: a name that ends in .npz or .parquet.
        parts: `fastneg.runs.embed.Part`s.
        names: the name of each image of the data set, by its position; or None.
        classes: the name of each label; or None.
        about: a dict of where they come from, kept as JSON.
    Returns:
        (N, F).
    Raises:
        ConfigError: another ending, pyarrow is missing, or there are no images.
    """
    write = writer_of(path)
    shape = []
    facts = {"names": names, "classes": classes, "about": json.dumps(about or {})}
    folder = Path(path).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: shape.extend(write(file, parts, folder, **facts)))
    return tuple(shape)


def writer_of(path):
    """What writes a file of this name; ConfigError where nothing does."""
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        endings = " or ".join(WRITERS)
        raise ConfigError(f"OUT is {path}: a name that ends in {endings} was expected.")
    if ending == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UnfitError(
                f"OUT is {path}: that needs the extra parquet, pip install 'fastneg[parquet]'; or "
                "take .npz."
            ) from None
    return WRITERS[ending]


def _write_npz(file, parts, folder, names, classes, about):
    with tempfile.TemporaryFile(dir=folder) as spool:
        index, labels, width = [], [], None
        for part in parts:
            rows = np.ascontiguousarray(part.features.numpy(), "<f4")
            width = rows.shape[1]
            spool.write(rows.data)
            index.append(part.index.numpy())
            labels += [] if part.labels is None else [part.labels.numpy()]
        if width is None:
            raise UnfitError("There are no images to take features of.")
        positions = np.concatenate(index)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            _member(archive, "features", "<f4", (len(positions), width), _chunks(spool))
            arrays = {"index": positions, "about": np.array(about)}
            if labels:
                arrays["labels"] = np.concatenate(labels)
            if classes is not None:
                arrays["classes"] = np.array(classes, str)
            for name, array in arrays.items():
                _member(archive, name, array.dtype.str, array.shape, [array.tobytes()])
            if names is not None:
                kind = f"<U{max(1, max(map(len, names), default=1))}"
                _member(archive, "names", kind, (len(positions),), _texts(names, positions, kind))
    return len(positions), width


def _member(archive, name, kind, shape, chunks):
    """One array of an .npz file, its bytes chunk by chunk."""
    info = zipfile.ZipInfo(f"{name}.npy")
    if name == "names":  # four bytes a character, most of them 0
        info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as member:
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        for chunk in chunks:
            member.write(chunk)


def _chunks(spool):
    spool.seek(0)
    while chunk := spool.read(COPIED_BYTES):
        yield chunk


def _texts(names, positions, kind):
    for start in range(0, len(positions), ROW_GROUP):
        some = [names[i] for i in positions[start : start + ROW_GROUP].tolist()]
        yield np.array(some, kind).tobytes()


def _write_parquet(file, parts, folder, names, classes, about):
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, total, width = None, 0, None
    try:
        for rows, index, labels in _grouped(parts):
            width = rows.shape[1]
            values = pa.array(rows.reshape(-1))
            columns = {"features": pa.FixedSizeListArray.from_arrays(values, width)}
            columns["index"] = pa.array(index)
            if labels is not None:
                columns["label"] = pa.array(labels)
            if labels is not None and classes is not None:
                columns["class"] = pa.array([_class(classes, label) for label in labels.tolist()])
            if names is not None:
                columns["name"] = pa.array([names[i] for i in index.tolist()], pa.string())
            table = pa.table(columns)
            if writer is None:
                schema = table.schema.with_metadata({"fastneg": about})
                writer = pq.ParquetWriter(file, schema)
            writer.write_table(table.cast(writer.schema), row_group_size=len(index))
            total += len(index)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UnfitError("There are no images to take features of.")
    return total, width


def _class(classes, label):
    return classes[label] if 0 <= label < len(classes) else None


def _grouped(parts):
    """(features, index, labels or None) of about ROW_GROUP images each."""
    held, count = [], 0
    for part in parts:
        held.append(part)
        count += len(part.index)
        if count >= ROW_GROUP:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(parts):
    labels = [part.labels for part in parts]
    return (
        np.concatenate([part.features.numpy().astype("<f4", copy=False) for part in parts]),
        np.concatenate([part.index.numpy() for part in parts]),
        None if labels[0] is None else np.concatenate([each.numpy() for each in labels]),
    )


WRITERS = {".npz": _write_npz, ".parquet": _write_parquet}

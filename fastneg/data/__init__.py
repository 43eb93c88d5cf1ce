"""Data: photographs → .beton (encode/), the file itself (beton/), file → batches (load/), and a
set that is drawn by a program (stencils/).

What the rooms share lies beside them:
    jpeg, jpeg_check                JPEG by its markers
    images                          image files decoded
    pool                            work spread over processes
    file_names                      several files by one text
    labels                          labels of a file, joined to those of a classifier
    label_names, known_classes      what people call labels, and published lists of classes
    errors                          the exception for bad files

Importing this needs NumPy and nothing else.
"""

from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.shards import BetonSet, open_data
from fastneg.data.beton.writer import BetonWriter
from fastneg.data.errors import BetonError

__all__ = ["BetonError", "BetonReader", "BetonSet", "BetonWriter", "open_data"]

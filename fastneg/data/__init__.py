"""Data: the .beton format, encoding, verification, epoch order, loading. Importing this needs NumPy alone."""

from fastneg.data.beton import BetonError, BetonReader
from fastneg.data.beton_writer import BetonWriter
from fastneg.data.shards import BetonSet, open_data

__all__ = ["BetonError", "BetonReader", "BetonSet", "BetonWriter", "open_data"]

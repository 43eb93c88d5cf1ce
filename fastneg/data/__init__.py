"""Data: the .beton format, encoding, verification, epoch order, loading. Importing this needs NumPy alone."""

from fastneg.data.beton import BetonError, BetonReader
from fastneg.data.beton_writer import BetonWriter

__all__ = ["BetonError", "BetonReader", "BetonWriter"]

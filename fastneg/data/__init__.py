"""Data: the .beton format, encoding, verification, epoch order, loading.

Importing this needs NumPy alone.
"""

from fastneg.data.beton.reader import BetonError, BetonReader
from fastneg.data.beton.shards import BetonSet, open_data
from fastneg.data.beton.writer import BetonWriter

__all__ = ["BetonError", "BetonReader", "BetonSet", "BetonWriter", "open_data"]

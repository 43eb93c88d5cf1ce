"""The one exception for bad files."""


class BetonError(Exception):
    """A file that is no whole .beton file, a sample that is not what was asked for, an image that cannot be used."""

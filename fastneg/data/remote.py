"""Files by URL, through fsspec: s3://, gs://, hf://, https:// and others.

.beton files, which DALI reads in place, are copied first: `local_copy`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from urllib.parse import quote, unquote

from fastneg.data.errors import BetonError
from fastneg.options import ConfigError, UnfitError

FORBIDDEN = 403
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_remote(text):
    """Whether a text is a URL (with ://) and no path."""
    return isinstance(text, str) and URL.match(text) is not None


@contextlib.contextmanager
def told(url):
    """Within it, what a file system raises is a BetonError that names the URL."""
    try:
        yield
    except (BetonError, ConfigError):
        raise
    except ImportError as error:
        raise UnfitError(f"{url} cannot be reached: {error}.") from error
    except Exception as error:  # clients of clouds and of HTTP have exceptions of their own
        raise BetonError(f"{url} cannot be read or written: {_words(error)}.") from error


def _words(error):
    if isinstance(error, FileNotFoundError):
        # Its text is the path alone. fsspec raises it too where a server cannot be reached, or does
        # not give the file.
        return str(error.__cause__ or f"there is no file {error}")
    return str(error) or type(error).__name__


def filesystem(url):
    """(the fsspec file system of a URL, the path in it).

    Raises:
        ConfigError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise UnfitError(
            f"{url} is a URL: that needs the extra remote, pip install 'fastneg[remote]'."
        ) from None
    with told(url):
        return fsspec.core.url_to_fs(url)


def in_this_process_alone(url):
    """Whether other processes would not find what is there: fsspec's memory."""
    return url.lower().startswith("memory://")


def names_below(url):
    """The names of all files below a URL, relative to it, / between their parts, sorted.

    Raises:
        BetonError: it cannot be listed, or is no folder.
    """
    files, root = filesystem(url)
    with told(url):
        listed = files.find(root if not _is_http(url) else root.rstrip("/") + "/")
    start = root.rstrip("/") + "/"
    names = [path[len(start) :] for path in listed if path.startswith(start) and path != start]
    names = [unquote(name) for name in names] if _is_http(url) else names
    if not names:
        raise BetonError(f"{url} is no folder that can be listed, or holds no files.")
    return sorted(names)


def _is_http(url):
    return url.lower().startswith(("http://", "https://"))


class _ByMany:
    """Reads one as `many` reads several."""

    def __call__(self, what):
        (found,) = self.many([what])
        if isinstance(found, str):
            raise BetonError(found)
        return found


class RemoteFiles(_ByMany):
    """Reads files below a URL by name, one or several at a time. Picklable.

    Args:
        url: the folder.
    """

    def __init__(self, url):
        self.url = url.rstrip("/")
        self._opened = None

    def __getstate__(self):
        return {"url": self.url, "_opened": None}  # each process has its own connections

    def many(self, names):
        """For each name the bytes of the file, or a text that says why there are none; read side by
        side where the file system can."""
        self._opened = self._opened or filesystem(self.url)
        files, root = self._opened
        names = [quote(name) for name in names] if _is_http(self.url) else names
        paths, whole = [f"{root.rstrip('/')}/{name}" for name in names], [None] * len(names)
        with told(self.url):
            # `cat` would take a name with a bracket for a pattern
            found = files.cat_ranges(paths, whole, whole, on_error="return")
        return [_bytes_or_reason(each) for each in found]


class RemotePlaces(_ByMany):
    """Reads parts of files, each (URL, offset, bytes), several at a time. Picklable."""

    def many(self, places):
        """As `RemoteFiles.many`."""
        found = [None] * len(places)
        for url in dict.fromkeys(url for url, _, _ in places):
            files, path = filesystem(url)
            own = [i for i, place in enumerate(places) if place[0] == url]
            starts = [places[i][1] for i in own]
            ends = [start + places[i][2] for start, i in zip(starts, own, strict=True)]
            with told(url):
                parts = files.cat_ranges([path] * len(own), starts, ends, on_error="return")
            for i, part in zip(own, parts, strict=True):
                found[i] = _bytes_or_reason(part)
                if len(found[i]) != places[i][2] and not isinstance(found[i], str):
                    raise BetonError(
                        f"{url} gave {len(found[i])} of {places[i][2]} bytes that were asked for: "
                        "it is cut, or the server gives whole files alone. Copy it first."
                    )
        return found


def _bytes_or_reason(value):
    return _words(value) if isinstance(value, BaseException) else bytes(value)


def open_source(path):
    """An open binary file, of a path or a URL."""
    if not is_remote(path):
        return open(path, "rb")
    files, inner = filesystem(path)
    with told(path):
        return files.open(inner, "rb")


def beside(url, ending):
    """The URL of the file that lies beside another one, with an ending more; what follows a ? in an
    address of the web, such as a signature, stays at its end."""
    place, mark, query = url.partition("?") if _is_http(url) else (url, "", "")
    return f"{place}{ending}{mark}{query}"


def file_name(url):
    """The last part of a URL, without what follows a ? in an address of the web."""
    return (url.partition("?")[0] if _is_http(url) else url).rpartition("/")[2]


def read_remote(url):
    """The bytes of a small file; None where there is none, or where it may not be read: some stores
    say so of each file that is not there."""
    files, path = filesystem(url)
    with told(url):
        try:
            return files.cat_file(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # of HTTP clients, which have exceptions of their own
            if not isinstance(error, PermissionError) and getattr(error, "status", 0) != FORBIDDEN:
                raise
            print(f"{url}: it may not be read ({_words(error)}).", file=sys.stderr, flush=True)
            return None


def upload(path, url):
    """Copy a local file to a URL; BetonError if what is there then has another size."""
    files, there = filesystem(url)
    with told(url):
        files.makedirs(files._parent(there), exist_ok=True)
        files.put_file(os.fspath(path), there)
        files.invalidate_cache()
        size = files.size(there)
    if size != os.path.getsize(path):
        raise BetonError(f"{url} holds {size} bytes after the copy of {path}, another number.")


def expand_remote(url):
    """The URLs that a text names: itself, or the matches of a pattern with *, sorted."""
    if "*" not in url:
        return [url]
    files, path = filesystem(url)
    with told(url):
        return sorted(_whole(url, found) for found in files.glob(path))


def _whole(url, path):
    """A path of a file system as a URL of the kind of `url`."""
    return path if is_remote(path) else f"{url.partition('://')[0]}://{path.lstrip('/')}"

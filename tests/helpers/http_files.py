"""A local HTTP server over a folder, which counts what it is asked for."""

import contextlib
import functools
import http.server
import threading
from collections import Counter


class Asked(Counter):
    """How often each path was asked for."""

    forbidden = ()
    """Paths that are answered with 403, as stores do that list nothing."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked[self.path] += 1
        if self.path in self.server.asked.forbidden:
            self.send_error(403)
            return
        super().do_GET()

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def served(folder):
    """Yields (URL of the folder, `Asked`)."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = Asked()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.shutdown()

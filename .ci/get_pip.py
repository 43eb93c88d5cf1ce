"""Installs pip into the running virtual environment where Python came without ensurepip.

pip's wheel from PyPI can run itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from urllib.parse import urljoin

INDEX = "https://pypi.org/pypi/pip/json"
with urllib.request.urlopen(INDEX, timeout=60) as page:
    wheel = next(file for file in json.load(page)["urls"] if file["packagetype"] == "bdist_wheel")
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, wheel["filename"])
    # a mirror may give relative addresses
    urllib.request.urlretrieve(urljoin(INDEX, wheel["url"]), path)
    pip = [sys.executable, os.path.join(path, "pip")]
    subprocess.run([*pip, "install", "--quiet", path], check=True)

"""The photos of the benchmarks are the same each time, in a .beton file and as files."""

import io

from PIL import Image

from fastneg.data.beton.reader import BetonReader
from fastneg.recipes.bench.photos import HEIGHT, WIDTH, photos, write_photos


def test_photos_are_the_same_each_time_and_repeat():
    found = list(photos(5, distinct=3))
    assert found == list(photos(5, distinct=3))
    assert [label for _, label in found] == [0, 1, 2, 3, 0]
    jpegs = [data for data, _ in found]
    assert jpegs[3:] == jpegs[:2] and len(set(jpegs)) == 3
    assert Image.open(io.BytesIO(jpegs[0])).size == (WIDTH, HEIGHT)


def test_the_file_and_the_folders_hold_the_same_photos(tmp_path):
    expected = list(photos(5, distinct=2))
    made = write_photos(tmp_path / "x.beton", 5, 2, tmp_path / "images")
    assert (made["images"], made["bytes"]) == (5, sum(len(data) for data, _ in expected))
    with BetonReader(tmp_path / "x.beton") as reader:
        assert [bytes(reader.jpeg(i)) for i in range(len(reader))] == [data for data, _ in expected]
    for number, (data, label) in enumerate(expected):
        assert (tmp_path / "images" / str(label) / f"{number}.jpg").read_bytes() == data
    write_photos(tmp_path / "y.beton", 2, 1)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"images"}

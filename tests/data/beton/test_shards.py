"""Several files as one data set: everything a reader of one file gives, over all of them."""

import pickle

import numpy as np
import pytest

from fastneg.data import BetonError, BetonReader, BetonSet, BetonWriter, open_data
from fastneg.data.beton.reader import Attributes
from fastneg.data.load.train_loader import TrainLoader
from helpers.images import jpeg, photo

RNG = np.random.default_rng(0)


def write(path, labels, classes=("ant", "bee", "cat"), named=True, **options):
    """A file with a JPEG for each label, its last sample raw pixels, in small pages; returns
    [(bytes, label)]."""
    samples = []
    with BetonWriter(path, page_size=4096, classes=classes, **options) as writer:
        for i, label in enumerate(labels):
            pixels, values = photo(RNG, 24 + i, 32), dict.fromkeys(writer.int_fields, label)
            values["name"] = f"{path.stem}/{i}.jpg" if named else None
            if "texture" in writer.image_fields:
                values["paired"] = {"texture": (jpeg(pixels[:9]), 9, 32)}
            if i == len(labels) - 1:
                writer.add_raw(pixels, **values)
                samples.append((pixels.tobytes(), label))
            else:
                samples.append((jpeg(pixels), label))
                writer.add(samples[-1][0], 24 + i, 32, **values)
    return samples


@pytest.fixture
def three(tmp_path):
    parts = [
        write(tmp_path / f"x-{i}.beton", labels)
        for i, labels in enumerate(([0, 1, 2, 0], [2], [1, 1, 0]))
    ]
    return [sample for part in parts for sample in part]


def test_all_that_a_reader_gives(tmp_path, three):
    readers = [BetonReader(tmp_path / f"x-{i}.beton") for i in range(3)]
    with open_data(tmp_path / "x-*.beton", verify=True) as data:
        assert isinstance(data, BetonSet) and data.files == [
            str(tmp_path / f"x-{i}.beton") for i in range(3)
        ]
        assert set(vars(readers[0])) - set(vars(data)) <= {
            "_absolute",
            "_map",
            "_bytes",
            "_fields",
            "_main",
        }
        assert {name for name in dir(BetonReader) if name[0] != "_"} <= set(dir(data))
        assert (
            len(data) == 8
            and data.fields == readers[0].fields
            and data.classes == ["ant", "bee", "cat"]
        )
        assert [data.stored(i).tobytes() for i in range(8)] == [stored for stored, _ in three]
        assert (
            data.labels.tolist() == data.ints["label"].tolist() == [label for _, label in three]
            and data.labels.dtype == np.int64
        )
        assert (
            [data.is_raw(i) for i in range(8)]
            == data.raw.tolist()
            == [False, False, False, True, True, False, False, True]
        )
        for number, reader in enumerate(readers):
            for local in range(len(reader)):
                i = sum(map(len, readers[:number])) + local
                assert data.encoded(i).tobytes() == reader.encoded(local).tobytes()
                assert (
                    data.sizes[i].tolist() == reader.sizes[local].tolist()
                    and data.checksums[i] == reader.checksums[local]
                )
                assert data.names[i] == reader.names[local] and data.matches_checksum(i)
                assert (
                    data.describe(i) == f"sample {i}, sample {local} (x-{number}/{local}.jpg) of "
                    f"{tmp_path}/x-{number}.beton"
                )
        joined = np.concatenate(
            [reader.pages + 1000 * number for number, reader in enumerate(readers)]
        )
        # no page shared by files
        assert (
            np.unique(data.pages, return_inverse=True)[1]
            == np.unique(joined, return_inverse=True)[1]
        ).all()
        with pytest.raises(BetonError, match=r"x-1.beton is raw pixels"):
            data.jpeg(4)
        for index in (8, -1):
            with pytest.raises(IndexError):
                data.stored(index)
        view, labels = data.jpeg(np.int64(6)), data.labels
        assert not view.flags.owndata and not view.flags.writeable
        data.will_need(np.arange(8))
    assert view.tobytes() == three[6][0] and labels[6] == three[6][1]  # they outlive the set
    with pytest.raises(ValueError, match="is closed"):
        data.stored(0)


def test_ways_to_name_files(tmp_path, three, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_data(" x-2.beton, x-0.beton").files == ["x-2.beton", "x-0.beton"]
    assert open_data("x-1.beton,x-[02].beton").files == ["x-1.beton", "x-0.beton", "x-2.beton"]
    assert open_data([tmp_path / "x-2.beton", "x-0.beton"]).files[1] == "x-0.beton"
    # and not the .json beside each
    assert open_data("x-*").files == ["x-0.beton", "x-1.beton", "x-2.beton"]
    (one := tmp_path / "a,b*.beton").write_bytes((tmp_path / "x-1.beton").read_bytes())
    assert isinstance(open_data(one), BetonReader) and open_data(one).files == [str(one)]


def test_a_set_travels_to_other_processes(tmp_path, three, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed = pickle.dumps(open_data("x-*.beton"))
    monkeypatch.chdir("/")
    copy = pickle.loads(packed)
    assert [copy.stored(i).tobytes() for i in range(8)] == [
        stored for stored, _ in three
    ] and copy.path == "x-*.beton"


def test_paired_textures_over_files(tmp_path):
    for i in range(2):
        write(tmp_path / f"p{i}.beton", [0, 1], paired_fields=("texture",))
    with open_data(f"{tmp_path}/p0.beton,{tmp_path}/p1.beton") as data:
        assert (
            data.image_fields == ["image", "texture"]
            and data.sizes_of("texture").tolist() == [[9, 32]] * 4
        )
        single = BetonReader(tmp_path / "p1.beton")
        assert data.jpeg(3, "texture").tobytes() == single.jpeg(
            1, "texture"
        ).tobytes() and data.matches_checksum(3, "texture")
        assert data.checksums_of("texture")[2:].tolist() == single.checksums_of("texture").tolist()
        data.will_need([0, 3], field="texture")
        with pytest.raises(BetonError, match="no image field 'depth'"):
            data.sizes_of("depth")


def test_labels_are_joined_by_name_where_classes_differ(tmp_path):
    write(tmp_path / "a.beton", [0, 1, 1], classes=["dog", "ant"])
    write(tmp_path / "b.beton", [1, 0, 2], classes=["bee", "dog", "cat"], named=False)
    with open_data(f"{tmp_path}/a.beton,{tmp_path}/b.beton") as data:
        assert data.classes == ["ant", "bee", "cat", "dog"]
        assert [data.classes[label] for label in data.labels] == [
            "dog",
            "ant",
            "ant",
            "dog",
            "bee",
            "cat",
        ]
        assert data.names == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "", "", ""]


def test_classes_without_names_and_without_labels(tmp_path):
    for i, labels in enumerate(([0, 1], [7])):
        write(tmp_path / f"n{i}.beton", labels, classes=None, named=False)
        write(tmp_path / f"u{i}.beton", labels, int_fields=())
    plain, unlabelled = open_data(tmp_path / "n?.beton"), open_data(tmp_path / "u?.beton")
    assert plain.classes is None and plain.names is None and plain.labels.tolist() == [0, 1, 7]
    assert unlabelled.labels is None and len(unlabelled) == 3


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"classes": None}, r"a\.beton\.json names classes, .*b\.beton has none"),
        (
            {"classes": ["dog", "dog", "eel"]},
            r"b\.beton has labels from 0 to 2, 2 different names in 3 classes",
        ),
        (
            {"classes": ["dog", "eel"]},
            r"b\.beton has labels from 0 to 2, 2 different names in 2 classes",
        ),
        (
            {"int_fields": ("label", "x")},
            r"a\.beton holds the fields image \(image\), label \(int\); "
            r".*b\.beton holds .*, x \(int\):",
        ),
        ({"paired_fields": ("texture",)}, "files of one data set hold the same fields"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path, second, said):
    write(tmp_path / "a.beton", [0, 1])
    write(tmp_path / "b.beton", [0, 2], **second)
    with pytest.raises(BetonError, match=said):
        open_data(tmp_path / "?.beton")


def test_class_numbers_in_another_field_cannot_be_joined(tmp_path):
    for name, classes in (("a", ["ant", "bee"]), ("b", ["bee", "cat"])):
        write(tmp_path / f"{name}.beton", [0, 1], classes=classes, int_fields=("label", "texture"))
    with pytest.raises(BetonError, match="an int field texture, which numbers classes too"):
        open_data(tmp_path / "?.beton")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("y-*.beton", r"y-\*\.beton matches none"),
        ("x-0.beton,,x-1.beton", "a part of it is empty"),
        ("x-*.beton,x-1.beton", r"names x-1\.beton twice"),
        ("x-0.beton,absent.beton", r"absent\.beton cannot be read"),
        ("absent.beton", r"absent\.beton cannot be read"),
    ],
)
def test_names_that_do_not_fit(tmp_path, three, monkeypatch, spec, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BetonError, match=said):
        open_data(spec)


def test_damage_in_one_file_is_found(tmp_path, three):
    path, data = tmp_path / "x-1.beton", bytearray((tmp_path / "x-1.beton").read_bytes())
    data[data.find(three[4][0]) + 5] ^= 1
    path.write_bytes(data)
    assert [open_data(tmp_path / "x-*.beton").matches_checksum(i) for i in range(8)] == [
        i != 4 for i in range(8)
    ]
    with pytest.raises(BetonError, match=r"1 of 1 sample failed .* of .*x-1\.beton"):
        open_data(tmp_path / "x-*.beton", verify=True)


def test_a_loader_trains_on_several_files(tmp_path, three):
    """Raw and JPEG samples of all files, each once an epoch, with their labels."""
    files = [tmp_path / f"x-{i}.beton" for i in range(3)]
    loader = TrainLoader(files, 4, 16, augmentation="moco_v2", device="cpu", threads=1)
    batches = list(loader.epoch(0))
    loader.close()
    index = np.concatenate([batch.index.numpy() for batch in batches])
    assert sorted(index.tolist()) == list(range(8))
    assert [label for batch in batches for label in batch.label.tolist()] == [
        three[i][1] for i in index
    ]


def test_one_file_and_several_tell_the_same_things(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.beton", [0, 1])
    with BetonReader(tmp_path / "a.beton") as one, open_data(str(tmp_path / "*.beton")) as both:
        for told in Attributes.__annotations__:
            assert hasattr(one, told) and hasattr(both, told), told

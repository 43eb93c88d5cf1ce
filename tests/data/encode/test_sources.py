"""What can be encoded beside class folders: flat folders, tar archives, WebDataset shards, CSV
lists; samples equal their files.

fastneg.data.encode.archives, fastneg.data.file_names and fastneg.data.encode.lists are tested
here.
"""

import json
import pickle
import tarfile

import numpy as np
import pytest

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.encode import encode
from fastneg.data.encode.sources import find_sources
from fastneg.data.file_names import split_names
from fastneg.recipes.cli import main
from helpers.encode_sources import tar
from helpers.images import jpeg, photo

PHOTOS = {f"img{i}.jpg": jpeg(photo(np.random.default_rng(i), 40, 48)) for i in range(6)}


def cut(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


def encoded(src, tmp_path, **options):
    """{name: (bytes, class or None)} of what comes out."""
    out = tmp_path / "out.beton"
    summary = encode(EncodeConfig(str(src), str(out), workers=1, **options))
    with BetonReader(out) as reader:
        labels = (
            [None] * len(reader)
            if reader.labels is None
            else [reader.classes[label] for label in reader.labels]
        )
        found = {reader.names[i]: (reader.jpeg(i).tobytes(), labels[i]) for i in range(len(reader))}
    return found, summary


def test_a_flat_folder_has_no_labels(tmp_path):
    (tmp_path / "flat").mkdir()
    for name, data in PHOTOS.items():
        (tmp_path / "flat" / name).write_bytes(data)
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    found, summary = encoded(tmp_path / "flat", tmp_path)
    assert (
        found == {name: (data, None) for name, data in PHOTOS.items()} and summary["ignored"] == 1
    )
    with BetonReader(tmp_path / "out.beton") as reader:
        assert reader.labels is None and reader.classes is None and reader.matches_checksum(0)


def test_a_tar_with_a_folder_for_each_class(tmp_path):
    members = [
        (f"./train/{'cat' if i % 2 else 'dog'}/{name}", data)
        for i, (name, data) in enumerate(PHOTOS.items())
    ]
    path = tar(
        tmp_path / "images.tar",
        [*members, ("train/readme.txt", b"x"), ("train/cat/.hidden.jpg", b"x")],
    )
    found, summary = encoded(path, tmp_path)
    assert (
        found == {name[2:]: (data, name.split("/")[2]) for name, data in members}
        and summary["ignored"] == 1
    )


@pytest.mark.parametrize("companion", ["cls", "json"])
def test_webdataset_shards_by_a_glob_and_a_list(tmp_path, companion):
    def shard(number):
        for i in range(3):
            key, label = f"{i:04d}", str(3 * number + i)
            yield f"{key}.jpg", PHOTOS[f"img{3 * number + i}.jpg"]
            told = (
                label.encode() + b"\n"
                if companion == "cls"
                else json.dumps({"label": int(label)}).encode()
            )
            yield f"{key}.{companion}", told

    paths = [tar(tmp_path / f"shard-{number}.tar", shard(number)) for number in range(2)]
    expected = {
        f"shard-{i // 3}/{i % 3:04d}.jpg": (PHOTOS[f"img{i}.jpg"], str(i)) for i in range(6)
    }
    assert encoded(tmp_path / "shard-*.tar", tmp_path)[0] == expected
    assert encoded(",".join(paths), tmp_path)[0] == expected
    with BetonReader(tmp_path / "out.beton") as reader:
        assert reader.classes == [str(i) for i in range(6)], "numbers keep their value"


def test_workers_read_archives_too(tmp_path):
    path = tar(
        tmp_path / "images.tar",
        [(f"a/{i}-{name}", data) for i in range(12) for name, data in PHOTOS.items()],
    )
    encode(EncodeConfig(path, str(tmp_path / "x.beton"), workers=2))
    with BetonReader(tmp_path / "x.beton") as reader:
        assert len(reader) == 72
        assert all(
            reader.jpeg(i).tobytes() == PHOTOS[reader.names[i].split("-")[1]] for i in range(72)
        )


@pytest.mark.parametrize("header", [True, False])
def test_a_csv_of_paths_and_labels(tmp_path, header):
    (tmp_path / "images").mkdir()
    for name, data in PHOTOS.items():
        (tmp_path / "images" / name).write_bytes(data)
    rows = [f"images/{name},{'b' if i else 'a'}" for i, name in enumerate(PHOTOS)]
    (tmp_path / "list.csv").write_text("\n".join((["path,label"] if header else []) + rows) + "\n")
    found, _ = encoded(tmp_path / "list.csv", tmp_path)
    assert found == {
        f"images/{name}": (data, "b" if i else "a") for i, (name, data) in enumerate(PHOTOS.items())
    }


def test_a_csv_of_paths_alone_has_no_labels(tmp_path):
    for name, data in PHOTOS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "list.csv").write_text("\n".join(PHOTOS))
    assert encoded(tmp_path / "list.csv", tmp_path)[0] == {
        name: (data, None) for name, data in PHOTOS.items()
    }


def test_a_subset_of_an_archives_classes_and_their_names(tmp_path):
    path = tar(
        tmp_path / "images.tar",
        [(f"{'abc'[i % 3]}/{name}", data) for i, (name, data) in enumerate(PHOTOS.items())],
    )
    (tmp_path / "few.txt").write_text("c\na\n")
    (tmp_path / "names.txt").write_text("a apple, fruit\nb bear\nc cat\n")
    found, _ = encoded(
        path, tmp_path, subset=str(tmp_path / "few.txt"), class_names=str(tmp_path / "names.txt")
    )
    assert {name for _, name in found.values()} == {"a", "c"} and len(found) == 4
    assert json.loads((tmp_path / "out.beton.json").read_text())["class_names"] == {
        "a": "apple, fruit",
        "c": "cat",
    }


def test_an_unreadable_member_stops_or_is_listed(tmp_path):
    path = tar(
        tmp_path / "images.tar",
        [
            *((f"a/{name}", data) for name, data in PHOTOS.items()),
            ("a/bad.jpg", b"\xff\xd8 no image"),
        ],
    )
    with pytest.raises(BetonError, match=r"a/bad.jpg of .* cannot be used"):
        encoded(path, tmp_path)
    assert not (tmp_path / "out.beton").exists()
    found, summary = encoded(path, tmp_path, on_error="skip")
    assert len(found) == 6 and summary["skipped"][0].startswith("a/bad.jpg: ")


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (
            lambda p: (p / "x.tar").write_bytes(b"no archive" * 100),
            BetonError,
            "cannot be read as a tar",
        ),
        (
            lambda p: cut(tar(p / "x.tar", [("a/b.jpg", b"z" * 4000)]), 2000),
            BetonError,
            "cannot be read as a tar",
        ),
        (
            lambda p: tar(p / "x.tar", [("a/b.jpg", b"x"), ("a/b.jpg", b"y")]),
            BetonError,
            "holds a/b.jpg twice",
        ),
        (
            lambda p: tar(p / "x.tar", [("0.jpg", b"x"), ("0.cls", b"3"), ("1.jpg", b"x")]),
            BetonError,
            "1.jpg has no class",
        ),
        (
            lambda p: tar(p / "x.tar", [("0.jpg", b"x"), ("0.json", b"{")]),
            BetonError,
            "companion .json",
        ),
        (lambda p: tar(p / "x.tar", [("a.txt", b"x")]), BetonError, "holds no images"),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, make, error, said):
    make(tmp_path)
    with pytest.raises(error, match=said):
        encoded(tmp_path / "x.tar", tmp_path)
    assert not list(tmp_path.glob("out.beton*"))


@pytest.mark.parametrize("damage", ["garbage", "zeros", "cut between members", "cut in a header"])
def test_an_archive_that_ends_too_early_is_refused(tmp_path, damage):
    path = tar(tmp_path / "x.tar", [(f"a/{name}", data) for name, data in PHOTOS.items()])
    with tarfile.open(path) as archive:
        at = archive.getmembers()[3].offset
    if damage.startswith("cut"):
        cut(path, at + (200 if damage == "cut in a header" else 0))
    else:
        with open(path, "r+b") as file:
            file.seek(at)
            file.write((b"\xff" if damage == "garbage" else b"\0") * 512)
    with pytest.raises(BetonError, match=f"is damaged or cut at byte {at}"):
        encoded(path, tmp_path)
    assert not list(tmp_path.glob("out.beton*"))


def test_a_link_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("a/1.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a/0.jpg"
        archive.addfile(link)
    with pytest.raises(BetonError, match=r"holds a/1\.jpg as a link"):
        encoded(tmp_path / "x.tar", tmp_path)


def test_an_empty_label_is_none(tmp_path):
    path = tar(
        tmp_path / "x.tar",
        [
            ("0.jpg", PHOTOS["img0.jpg"]),
            ("0.cls", b"\n"),
            ("1.jpg", PHOTOS["img1.jpg"]),
            ("1.cls", b"3"),
        ],
    )
    with pytest.raises(BetonError, match=r"0\.jpg has no class"):
        encoded(path, tmp_path)


def test_a_listed_image_is_not_its_own_texture(tmp_path):
    for name in ("images", "textures"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(
            PHOTOS["img0.jpg" if name == "images" else "img1.jpg"]
        )
    for listed in (f"{tmp_path}/images/0.jpg", "../images/0.jpg"):
        (tmp_path / "images" / "list.csv").write_text(f"{listed},x\n")
        with pytest.raises(BetonError, match=r"its texture: .* is not below SRC"):
            encoded(tmp_path / "images" / "list.csv", tmp_path, textures=str(tmp_path / "textures"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na.jpg\n", "line 2 of"),
        ("a.jpg,x\na.jpg,y\n", "more than once"),
        ("a.jpg,x\n,y\n", "line 2"),
        ("", "lists no images"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, said):
    (tmp_path / "a.jpg").write_bytes(PHOTOS["img0.jpg"])
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BetonError, match=said):
        encoded(tmp_path / "list.csv", tmp_path)


@pytest.mark.parametrize(
    ("src", "flags", "said"),
    [
        ("x.tar.gz", [], "cannot be read in place"),
        ("none-*.tar", [], "No file fits"),
        ("x.tar", ["--split", "train"], "--split is train, which has no effect"),
        ("x.tar", ["--writer", "ffcv"], "--writer ffcv takes class folders"),
        ("flat", ["--subset", "imagenet100"], "--subset has no effect"),
        ("flat", ["--class_names", "names.txt"], "--class_names has no effect"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, src, flags, said, capsys):
    tar(tmp_path / "x.tar", [("0.jpg", b"x")])
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(PHOTOS["img0.jpg"])
    code = 1 if src == "none-*.tar" else 2
    assert main(["encode", f"{tmp_path}/{src}", f"{tmp_path}/o.beton", *flags]) == code
    assert said in capsys.readouterr().err


def test_class_names_must_name_each_class(tmp_path):
    path = tar(tmp_path / "x.tar", [("a/0.jpg", PHOTOS["img0.jpg"])])
    (tmp_path / "names.txt").write_text("b bear\n")
    with pytest.raises(ConfigError, match="lacks 1 of 1 class: a"):
        encoded(path, tmp_path, class_names=str(tmp_path / "names.txt"))


def test_a_subset_of_numbered_classes_keeps_their_order(tmp_path):
    path = tar(
        tmp_path / "x.tar",
        [
            (f"{label}/{name}", PHOTOS[name])
            for label, name in zip((2, 10, 0), PHOTOS, strict=False)
        ],
    )
    (tmp_path / "few.txt").write_text("10\n2\n")
    encoded(path, tmp_path, subset=str(tmp_path / "few.txt"))
    with BetonReader(tmp_path / "out.beton") as reader:
        assert reader.classes == ["2", "10"]


def write_files(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_images_beside_the_class_folders_are_counted(tmp_path, capsys):
    files = {
        "cat/0.jpg": PHOTOS["img0.jpg"],
        "loose.jpg": PHOTOS["img1.jpg"],
        "notes.txt": b"x",
        ".hidden.jpg": b"x",
    }
    src = write_files(tmp_path / "src", files)
    found, summary = encoded(src, tmp_path)
    assert (
        list(found) == ["cat/0.jpg"]
        and summary["left_out"] == {"beside the class folders": 1}
        and summary["ignored"] == 2
    )
    assert json.loads((tmp_path / "out.beton.json").read_text())["left_out"] == summary["left_out"]
    assert main(["encode", str(src), str(tmp_path / "out.beton")]) == 0
    assert "images left out: 1 beside the class folders;" in capsys.readouterr().out


def test_linked_folders_are_followed_once(tmp_path):
    src = write_files(tmp_path / "src", {"cat/0.jpg": PHOTOS["img0.jpg"]})
    other = write_files(tmp_path / "other", {"1.jpg": PHOTOS["img1.jpg"]})
    (src / "cat" / "more").symlink_to(other)
    assert set(encoded(src, tmp_path)[0]) == {"cat/0.jpg", "cat/more/1.jpg"}
    (src / "cat" / "more" / "again").symlink_to(src / "cat")
    with pytest.raises(BetonError, match=r"again is the same folder as .*cat, by a link"):
        encoded(src, tmp_path)


def test_a_webdataset_key_is_one_sample(tmp_path):
    members = [
        (f"{i}.{end}", PHOTOS[f"img{i}.jpg"]) for i in range(3) for end in ("seg.jpg", "jpg")
    ]
    for companions in ([], [(f"{i}.cls", b"%d" % i) for i in range(3)]):  # of flat archives too
        found, summary = encoded(
            tar(tmp_path / "x.tar", [*members, *companions, ("9.cls", b"5")]), tmp_path
        )
        expected = {
            f"{i}.jpg": (PHOTOS[f"img{i}.jpg"], str(i) if companions else None) for i in range(3)
        }
        assert found == expected and summary["left_out"] == {"other images of a sample": 3}
        assert summary["ignored"] == 1, "a class without an image"


def test_images_of_class_folders_may_have_dots_in_their_names(tmp_path):
    members = {f"cat/a.{i}.jpg": PHOTOS[f"img{i}.jpg"] for i in range(3)}
    found, summary = encoded(tar(tmp_path / "x.tar", members.items()), tmp_path)
    assert (
        found == {name: (data, "cat") for name, data in members.items()}
        and summary["left_out"] == {}
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("0.a.jpg", "0.b.jpg"), "0.a.jpg and 0.b.jpg are images of one sample, 0 "),
        (("0.jpg", "0.png"), "0.jpg and 0.png are images of one sample"),
        (
            ("0-x.jpg", "0.jpg", "0.seg.jpg", "1.seg.jpg"),
            "1.seg.jpg is the only image of its sample",
        ),
        (("0.jpg", "./0.jpg"), "holds 0.jpg twice"),
    ],
)
def test_which_image_is_meant_is_not_guessed(tmp_path, names, said):
    path = tar(tmp_path / "x.tar", [(name, PHOTOS["img0.jpg"]) for name in names])
    with pytest.raises(BetonError, match=said):
        encoded(path, tmp_path)


def test_shards_of_one_name_in_several_folders(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        tar(tmp_path / folder / "s.tar", [("0.jpg", PHOTOS[f"img{'ab'.index(folder)}.jpg"])])
    found, _ = encoded(tmp_path / "?" / "s.tar", tmp_path)
    assert found == {
        f"{folder}/s/0.jpg": (PHOTOS[f"img{i}.jpg"], None) for i, folder in enumerate("ab")
    }
    with pytest.raises(ConfigError, match=r"names .*s\.tar twice"):
        encoded(f"{tmp_path}/a/s.tar,{tmp_path}/b/../a/s.tar", tmp_path)


def test_ranges_name_shards(tmp_path):
    for i in range(9, 12):
        tar(tmp_path / f"s-{i:03d}.tar", [("0.jpg", PHOTOS[f"img{i - 9}.jpg"])])
    found, _ = encoded(tmp_path / "s-{009..011}.tar", tmp_path)
    assert found == {f"s-{i:03d}/0.jpg": (PHOTOS[f"img{i - 9}.jpg"], None) for i in range(9, 12)}
    with pytest.raises(BetonError, match=r"s-012\.tar cannot be read"):
        encoded(tmp_path / "s-{009..012}.tar", tmp_path)


def test_shards_that_are_called_after_a_split_are_of_one(tmp_path):
    for i, name in enumerate(("train-000", "train-001", "val-000")):
        tar(tmp_path / f"{name}.tar", [("0.jpg", PHOTOS[f"img{i}.jpg"])])
    found, _ = encoded(tmp_path / "train-{000..001}.tar", tmp_path)
    assert found == {f"train-00{i}/0.jpg": (PHOTOS[f"img{i}.jpg"], None) for i in range(2)}
    with pytest.raises(ConfigError, match="holds train-000, train-001, val-000: give --split"):
        encoded(tmp_path / "*-*.tar", tmp_path)


def test_ranges_are_expanded_as_written(tmp_path):
    assert split_names("a{8..10}-{00..01}.beton, b") == [
        ("a{8..10}-{00..01}.beton", [f"a{i}-0{j}.beton" for i in (8, 9, 10) for j in (0, 1)]),
        ("b", ["b"]),
    ]
    (tmp_path / "x{1..2}").touch()  # a file of that very name
    assert split_names(f"{tmp_path}/x{{1..2}}")[0][1] == [f"{tmp_path}/x{{1..2}}"]
    for name in ("y1a", "y1b", "y2a"):
        (tmp_path / name).touch()
    assert split_names(f"{tmp_path}/y{{1..2}}?")[0][1] == [
        f"{tmp_path}/{name}" for name in ("y1a", "y1b", "y2a")
    ]


def test_a_listed_image_counts_once_however_it_is_spelt(tmp_path):
    write_files(tmp_path, {"a/0.jpg": PHOTOS["img0.jpg"]})
    for other in ("./a/0.jpg", "a/../a/0.jpg", f"{tmp_path}/a/0.jpg"):
        (tmp_path / "list.csv").write_text(f"a/0.jpg,x\n{other},y\n")
        with pytest.raises(
            BetonError, match=r"a/0\.jpg more than once, in the same or another spelling"
        ):
            encoded(tmp_path / "list.csv", tmp_path)


def test_what_goes_to_the_workers_does_not_grow_with_the_archive(tmp_path):
    path = tar(tmp_path / "x.tar", [(f"a/{i}.jpg", b"x") for i in range(500)])
    sources = find_sources(EncodeConfig(path, str(tmp_path / "x.beton")))
    assert (
        len(sources.names) == len(sources.places) == 500 and len(pickle.dumps(sources.read)) < 200
    )
    assert sources.read(sources.places[499]) == b"x"

"""Lists as people have them: the labels of `encode` against those written by hand, or a refusal
that names what is wrong.

fastneg.data.encode.lists, fastneg.data.encode.list_rows, fastneg.data.encode.list_files,
fastneg.data.encode.list_columns and fastneg.data.encode.label_texts are tested here.
"""

import csv
import io
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastneg.config import ConfigError
from fastneg.data import BetonError, BetonReader
from fastneg.data.encode.label_texts import classes_of
from fastneg.data.encode.lists import read_list
from helpers.encode_sources import PHOTO, labelled


def place(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PHOTO)


ABC = {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "cat"}
NUMBERS = {"a.jpg": "2", "b.jpg": "0", "c.jpg": "2"}
LISTS = {
    "no header": ("x.csv", "a.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "file_name, species": ("x.csv", "file_name,species\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "Id and Target": ("x.csv", "Id,Target\na.jpg,2\nb.jpg,0\nc.jpg,2\n", NUMBERS),
    "path and target": ("x.csv", "path,target\na.jpg,2\nb.jpg,0\nc.jpg,2\n", NUMBERS),
    "img and class": ("x.csv", "img,class\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "quotes, BOM, CRLF": (
        "x.csv",
        '\ufeff"Image Path","Class Name"\r\n"a.jpg","cat"\r\n"b.jpg","dog"\r\n"c.jpg","cat"\r\n',
        ABC,
    ),
    "semicolons": ("x.csv", "image;label\na.jpg;cat\nb.jpg;dog\nc.jpg;cat\n", ABC),
    "tabs in a csv": ("x.csv", "image\tlabel\na.jpg\tcat\nb.jpg\tdog\nc.jpg\tcat\n", ABC),
    "label first": ("x.tsv", "cat\ta.jpg\ndog\tb.jpg\ncat\tc.jpg\n", ABC),
    "more columns": (
        "x.csv",
        "id,width,filename,breed\n7,1,a.jpg,cat\n8,1,b.jpg,dog\n9,1,c.jpg,cat\n",
        ABC,
    ),
    "an unknown header": ("x.csv", "image_id,level\na.jpg,2\nb.jpg,0\nc.jpg,2\n", NUMBERS),
    "an index of pandas": ("x.csv", ",image,label\n0,a.jpg,cat\n1,b.jpg,dog\n2,c.jpg,cat\n", ABC),
    "pandas without names": ("x.csv", "0,1\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "another language": ("x.csv", "Bild;Klasse\na.jpg;cat\nb.jpg;dog\nc.jpg;cat\n", ABC),
    "classes called Id": ("x.csv", "Image,Id\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "classes called as columns": (
        "x.csv",
        "a.jpg,label\nb.jpg,class\nc.jpg,id\n",
        {"a.jpg": "label", "b.jpg": "class", "c.jpg": "id"},
    ),
    "classes of two words": (
        "x.txt",
        "a.jpg big cat\nb.jpg dog\nc.jpg dog\n",
        {"a.jpg": "big cat", "b.jpg": "dog", "c.jpg": "dog"},
    ),
    "empty cells at the end": ("x.csv", "a.jpg,cat,\nb.jpg,dog,\nc.jpg,cat,\n", ABC),
    "line ends of old Macs": ("x.csv", "path,label\ra.jpg,cat\rb.jpg,dog\rc.jpg,cat\r", ABC),
    "a header behind #": ("x.csv", "# path,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", ABC),
    "bars": ("x.csv", "a.jpg|cat\nb.jpg|dog\nc.jpg|cat\n", ABC),
    "numbers with a base of 1": (
        "x.csv",
        "a.jpg,3\nb.jpg,1\nc.jpg,3\n",
        {"a.jpg": "3", "b.jpg": "1", "c.jpg": "3"},
    ),
    "JSON pairs, as StyleGAN has them": (
        "dataset.json",
        json.dumps({"labels": [[n, int(c)] for n, c in NUMBERS.items()]}),
        NUMBERS,
    ),
    "a path that begins with a slash": ("x.txt", "/a.jpg 2\n/b.jpg 0\n/c.jpg 2\n", NUMBERS),
    "paths of Windows": ("x.csv", ".\\a.jpg,2\n.\\b.jpg,0\n.\\c.jpg,2\n", NUMBERS),
    "words": ("x.txt", "a.jpg 2\nb.jpg 0\n\n# the last\nc.jpg 2\n", NUMBERS),
    "Tiny-ImageNet": (
        "x.txt",
        "".join(f"{name}\t{label}\t0\t1\t30\t40\n" for name, label in ABC.items()),
        ABC,
    ),
    "Kaggle's ids and boxes": (
        "x.csv",
        "ImageId,PredictionString\na,cat 1 2 3 4 cat 5 6 7 8 \nb,dog 1 2 3 4\nc,cat 1 2 3 4\n",
        ABC,
    ),
    "ids without a header": ("x.csv", "a,cat\nb,dog\nc,cat\n", ABC),
    "JSON lines": (
        "metadata.jsonl",
        "".join(json.dumps({"file_name": n, "label": c}) + "\n" for n, c in ABC.items()),
        ABC,
    ),
    "JSON numbers": (
        "x.jsonl",
        "".join(json.dumps({"image": n, "label": int(c)}) + "\n" for n, c in NUMBERS.items()),
        NUMBERS,
    ),
    "JSON of paths": ("x.json", json.dumps(ABC), ABC),
    "floats that are whole": ("x.csv", "path,label\na.jpg,2.0\nb.jpg,0.0\nc.jpg,2.0\n", NUMBERS),
    "zeros in front": ("x.csv", "path,label\na.jpg,002\nb.jpg,000\nc.jpg,002\n", NUMBERS),
    "numbers and names": (
        "x.csv",
        "path,label\na.jpg,747\nb.jpg,A300\nc.jpg,747\n",
        {"a.jpg": "747", "b.jpg": "A300", "c.jpg": "747"},
    ),
    "large ids": (
        "x.csv",
        "path,label\na.jpg,12345678\nb.jpg,9\nc.jpg,9\n",
        {"a.jpg": "12345678", "b.jpg": "9", "c.jpg": "9"},
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_labels_of_a_list_are_those_written_there(tmp_path, name):
    file, text, expected = LISTS[name]
    place(tmp_path, *ABC)
    (tmp_path / file).write_bytes(text.encode())
    found, _ = labelled(tmp_path / file, tmp_path)
    assert found == expected


def test_numbers_are_the_labels_themselves(tmp_path):
    place(tmp_path, *ABC)
    (tmp_path / "x.csv").write_text("path,label\na.jpg,3\nb.jpg,1.0\nc.jpg,007\n")
    labelled(tmp_path / "x.csv", tmp_path)
    with BetonReader(tmp_path / "out.beton") as reader:
        assert dict(zip(reader.names, reader.labels.tolist(), strict=True)) == {
            "a.jpg": 3,
            "b.jpg": 1,
            "c.jpg": 7,
        }
        assert reader.classes == [str(i) for i in range(8)]
    listed = classes_of(["3", "1.0", "007"], "abc", "x.csv")
    assert any("5 of these have no image (0, 2, 4, …)" in note for note in listed.notes)
    assert any("007" in note or "1.0" in note for note in listed.notes)


def test_images_below_the_list_are_found_by_name(tmp_path):
    place(tmp_path, *(f"images/{name}" for name in ABC))
    (tmp_path / "val_annotations.txt").write_text(
        "".join(f"{n}\t{c}\t0\t0\t9\t9\n" for n, c in ABC.items())
    )
    assert labelled(tmp_path / "val_annotations.txt", tmp_path)[0] == {
        f"images/{name}": c for name, c in ABC.items()
    }
    assert (
        "3 of 3 images, such as images/c.jpg"
        in read_list(tmp_path / "val_annotations.txt").notes[-1]
    )


def test_paths_with_commas_and_blanks(tmp_path):
    names = {"a, b/c d.jpg": "big cat", "e f.jpg": "dog"}
    place(tmp_path, *names)
    (tmp_path / "x.csv").write_text('"a, b/c d.jpg",big cat\n"e f.jpg",dog\n')
    assert labelled(tmp_path / "x.csv", tmp_path)[0] == names
    (tmp_path / "x.txt").write_text("a, b/c d.jpg\ne f.jpg\n")
    assert labelled(tmp_path / "x.txt", tmp_path)[0] == dict.fromkeys(names)
    for text in ("e f.jpg 1\n", "1 e f.jpg\n", '"e f.jpg" 1\n', '1 "e f.jpg"\n', "e f.jpg\t1\n"):
        (tmp_path / "y.txt").write_text(text)
        assert labelled(tmp_path / "y.txt", tmp_path)[0] == {"e f.jpg": "1"}, text


def test_a_split_column_is_told_and_can_be_chosen(tmp_path):
    place(tmp_path, *ABC)
    (tmp_path / "x.csv").write_text(
        "path,label,split\na.jpg,cat,train\nb.jpg,dog,val\nc.jpg,cat,train\n"
    )
    with pytest.raises(
        ConfigError, match=r"split of .* holds train \(2\), val \(1\): give --split"
    ):
        labelled(tmp_path / "x.csv", tmp_path)
    assert labelled(tmp_path / "x.csv", tmp_path, split=".")[0] == ABC
    with pytest.raises(
        ConfigError, match=r"--split is test, but column split of .* holds train \(2\), val \(1\)"
    ):
        labelled(tmp_path / "x.csv", tmp_path, split="test")
    assert labelled(tmp_path / "x.csv", tmp_path, split="Train")[0] == {
        "a.jpg": "cat",
        "c.jpg": "cat",
    }


def test_the_label_column_by_hand(tmp_path):
    place(tmp_path, *ABC)
    (tmp_path / "x.csv").write_text(
        "path,shape,colour\na.jpg,cat,red\nb.jpg,dog,blue\nc.jpg,cat,red\n"
    )
    with pytest.raises(
        BetonError, match=r"shape, colour is the label(.|\n)*path,shape,colour\n  a.jpg,cat,red\n"
    ):
        labelled(tmp_path / "x.csv", tmp_path)
    assert labelled(tmp_path / "x.csv", tmp_path, label_column="colour")[0] == {
        "a.jpg": "red",
        "b.jpg": "blue",
        "c.jpg": "red",
    }
    assert labelled(tmp_path / "x.csv", tmp_path, label_column="2")[0] == ABC
    assert set(labelled(tmp_path / "x.csv", tmp_path, label_column="none")[0].values()) == {None}
    with pytest.raises(ConfigError, match="effect on lists only"):
        labelled(tmp_path, tmp_path, label_column="2")


REFUSED = {
    "negative": ("path,label\na.jpg,-1\nb.jpg,1\n", "a.jpg has the label -1"),
    "a fraction": ("path,label\na.jpg,1.5\nb.jpg,1\n", "a.jpg has the label 1.5"),
    "an exponent": ("path,label\na.jpg,1e3\nb.jpg,1\n", "a.jpg has the label 1e3"),
    "NaN": ("path,label\na.jpg,nan\nb.jpg,1\n", "a.jpg has no label"),
    "no label": ("path,label\na.jpg,\nb.jpg,1\n", "line 2 of .*a.jpg, has no label"),
    "two spellings": ("path,label\na.jpg,7654321\nb.jpg,07654321\n", "may mean the same class"),
    "several classes": (
        "path,label\na.jpg,cat 1 2 3 4 dog 1 2 3 4\nb.jpg,cat 1 2 3 4\n",
        "several classes, cat, dog",
    ),
    "a list as label": (
        "path,label\na.jpg,\"['cat', 'dog']\"\nb.jpg,['cat']\n",
        "one class for each image",
    ),
    "an odd line": (
        "path,label\na.jpg,1\nb.jpg,1,2\n",
        "line 3 of .* 3 columns where others have 2",
    ),
    "no images": ("x,y\n1,2\n3,4\n", "no column holds images(.|\n)*x,y\n  1,2"),
    "no path": ("path,label\n,1\nb.jpg,1\n", "line 2 of .* names no image"),
    "infinite": ("path,label\na.jpg,inf\nb.jpg,1\n", "a.jpg has the label inf"),
    "none among numbers": ("a.jpg,0\nb.jpg,1\nc.jpg,None\n", "c.jpg has no label .'None'"),
    "several numbers": ("Id,Target\na,16 0\nb,7\n", "line 2 of .*a, has the label 16 0"),
    "a header alone": ("path,label\n", "a header and nothing else"),
    "no delimiter in the lines": (
        "path,label\na.jpg\nb.jpg\n",
        "line 1 of .*'path,label', 2 columns where others have 1",
    ),
    "a count before the header": (
        "3\nimage label\na.jpg 1\nb.jpg 2\n",
        "line 1 of .*'3', 1 columns",
    ),
    "one-hot labels": (
        "image,healthy,rust\na.jpg,1,0\nb.jpg,0,1\n",
        "healthy, rust is the label cannot be told",
    ),
    "coordinates": ("filename,x,y\na.jpg,1,2\nb.jpg,3,4\n", "x, y is the label cannot be told"),
    "regression": ("image,age\na.jpg,1.5\nb.jpg,3\n", "a.jpg has the label 1.5"),
    "numbers of the lines": ("1 a.jpg\n2 b.jpg\n3 c.jpg\n", "column 1 counts the lines"),
    "an open quote": ('"a.jpg,1\nb.jpg,2\n', "cannot be read as a list"),
    "two images": ("a.jpg,b.jpg\nb.jpg,c.jpg\n", "all name images"),
    "several labels": (
        "a.jpg,1,2\nb.jpg,1,2\n",
        "which of the columns column 2, column 3 (.|\n)*a.jpg,1,2\n  b.jpg,1,2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused(tmp_path, name):
    text, said = REFUSED[name]
    place(tmp_path, *ABC)
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(BetonError, match=said):
        labelled(tmp_path / "x.csv", tmp_path)
    assert not (tmp_path / "out.beton").exists()


def test_ids_that_fit_no_file_or_several(tmp_path):
    place(tmp_path, *ABC, "more/a.jpg")
    (tmp_path / "x.csv").write_text("ImageId,label\na,cat\nb,dog\n")
    with pytest.raises(BetonError, match=r"names a, which may be .*a.jpg or .*a.jpg"):
        labelled(tmp_path / "x.csv", tmp_path)
    (tmp_path / "x.csv").write_text("ImageId,label\nb,dog\nz,cat\n")
    with pytest.raises(BetonError, match="no image of that stem"):
        labelled(tmp_path / "x.csv", tmp_path)
    assert labelled(tmp_path / "x.csv", tmp_path, on_error="skip")[0] == {"b.jpg": "dog"}


def test_a_fifo_in_a_list_is_never_opened(tmp_path):
    place(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    (tmp_path / "x.csv").write_text("a.jpg,cat\nb.jpg,dog\n")
    with pytest.raises(BetonError, match=r"b.jpg.* it is a FIFO"):
        labelled(tmp_path / "x.csv", tmp_path)


def test_a_list_that_is_no_utf8_or_no_file(tmp_path):
    for data in ("a.jpg,é\n".encode("latin-1"), "a.jpg,1\n".encode("utf-16")):
        (tmp_path / "x.csv").write_bytes(data)
        with pytest.raises(BetonError, match="no text in UTF-8"):
            read_list(tmp_path / "x.csv")
    os.mkfifo(tmp_path / "y.csv")
    with pytest.raises(BetonError, match=r"y.csv cannot be read: it is a FIFO"):
        read_list(tmp_path / "y.csv")
    for text, said in (
        ("{", "is no JSON"),
        ('{"images": []}', "no list of records"),
        ('["a.jpg", {}]', "record 1 of"),
    ):
        (tmp_path / "z.json").write_text(text)
        with pytest.raises(BetonError, match=said):
            read_list(tmp_path / "z.json")
    (tmp_path / "z.jsonl").write_text('{"path": "a.jpg"}\n{\n')
    with pytest.raises(BetonError, match=r"line 2 of .*z.jsonl is no JSON"):
        read_list(tmp_path / "z.jsonl")


def test_columns_that_are_not_taken_are_told(tmp_path):
    place(tmp_path, *ABC)
    (tmp_path / "x.csv").write_text("path,label,sex,width\na.jpg,1,f,3\nb.jpg,0,m,3\n")
    listed = read_list(tmp_path / "x.csv")
    assert listed.labels_from == "column label of x.csv"
    assert any(note.endswith("not taken: sex, width.") for note in listed.notes)


def test_only_a_list_whose_paths_all_fail_is_looked_for_elsewhere(tmp_path):
    place(tmp_path, "a.jpg", "old/b.jpg")
    (tmp_path / "x.csv").write_text("a.jpg,1\nb.jpg,0\n")
    with pytest.raises(
        BetonError, match=r"not there: 1; the first is b.jpg \(line 2\): No such file"
    ):
        labelled(tmp_path / "x.csv", tmp_path)


def test_a_class_keeps_its_place_though_its_images_are_missing(tmp_path):
    place(tmp_path, "b.jpg", "c.jpg")
    (tmp_path / "x.csv").write_text("a.jpg,ant\nb.jpg,bee\nc.jpg,cat\n")
    found, summary = labelled(tmp_path / "x.csv", tmp_path, on_error="skip")
    assert found == {"b.jpg": "bee", "c.jpg": "cat"} and summary["skipped"][0].startswith(
        "a.jpg (line 1): "
    )
    with BetonReader(tmp_path / "out.beton") as reader:
        assert reader.classes == ["ant", "bee", "cat"]


def test_links_that_lead_round_do_not_end_a_search(tmp_path):
    place(tmp_path, "t/a.jpg", "t/b.jpg")
    (tmp_path / "t" / "again").symlink_to(tmp_path)
    (tmp_path / "x.csv").write_text("Id,label\na,1\nb,0\n")
    assert labelled(tmp_path / "x.csv", tmp_path)[0] == {"t/a.jpg": "1", "t/b.jpg": "0"}


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["7", "07", "7.0", "+7", "0"], [7, 7, 7, 7, 0]),
        (["b", "a", "b"], [1, 0, 1]),
        (["747", "A300"], [0, 1]),
        (["1048575", "0"], [1048575, 0]),
        (["1048576", "9"], [0, 1]),
        (["9" * 6000, "1"], [1, 0]),
        (["none", "cat"], [1, 0]),
    ],
)
def test_the_number_of_a_text(texts, labels):
    found = classes_of(texts, texts, "x.csv")
    assert found.labels == labels and len(found.names) > max(labels)


def test_folders_are_numbers_only_if_all_are_written_plainly():
    assert classes_of(["2", "10", "0"], "abc", "x", folders=True).labels == [2, 10, 0]
    for texts in (["02", "10"], ["-1", "nan"], ["1.0", "2"]):
        assert classes_of(texts, "ab", "x", folders=True).names == sorted(texts)


WORDS = (
    st.text("abcxyz _-é,;", min_size=1, max_size=8)
    .map(str.strip)
    # a label of separators alone leaves open what the separator of its only row is
    .filter(lambda word: word.strip(" ,;") not in ("", "na"))
)
STEMS = st.text("ab ,;'é", max_size=5).map(str.lstrip)


@settings(
    deadline=None,
    max_examples=80,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.tuples(STEMS, WORDS), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "|", " ", "json"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    header=st.sampled_from(
        [None, ("image", "label"), ("Path", "Class"), ("file_name", "target"), ("ImageId", "y")]
    ),
    swapped=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_any_dialect_gives_back_names_and_labels(
    tmp_path, rows, delimiter, quoting, header, swapped, end, mark
):
    rows = [(f"{stem}{i}.jpg", label) for i, (stem, label) in enumerate(rows)]
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # files of other examples would decide
    place(folder, *(name for name, _ in rows))
    written = [row[::-1] if swapped else row for row in ([header] if header else []) + rows]
    file, suffix = io.StringIO(), "csv"
    if delimiter == "json":
        keys, suffix = header or ("file_name", "label"), "jsonl"
        file.write(
            "".join(
                json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) + end
                for row in rows
            )
        )
    else:
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(
            written
        )
    (folder / f"x.{suffix}").write_bytes((mark + file.getvalue()).encode())
    listed = read_list(folder / f"x.{suffix}")
    assert (listed.names, listed.texts) == (
        [name for name, _ in rows],
        [label for _, label in rows],
    )

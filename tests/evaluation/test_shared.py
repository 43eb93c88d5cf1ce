"""Lines of a test set say how many of its images the classifier was trained on."""

from types import SimpleNamespace

from fastneg.data import BetonReader
from fastneg.data.beton.overlap import FIELD
from fastneg.evaluation.shared import mark_shared, train_facts
from helpers.tinted import make_beton


def test_shared_images_are_counted_and_a_training_set_that_is_gone_is_told(tmp_path):
    path, said = make_beton(tmp_path / "train.beton", 8), []
    rows = [{"kind": "accuracy"}, {"kind": "similarity"}]
    with BetonReader(path) as train, BetonReader(path) as test:
        head = SimpleNamespace(facts=train_facts(path, train))
        assert head.facts["train_files"] == [str(path)]
        mark_shared("val", rows, test, head, said.append)
        assert rows == [{"kind": "accuracy", FIELD: 8}, {"kind": "similarity"}]
        head.facts["train_files"] = [str(tmp_path / "gone.beton")]
        mark_shared("val", rows, test, head, said.append)
    assert rows[0][FIELD] is None
    assert len(said) == 2 and "is not known" in said[1]

"""What is written into a run folder, or made of one, is no input and no file of another."""

import pytest

from fastneg.files import OutputError
from fastneg.runs.outputs import evaluation_output, refuse_among, run_inputs, run_output


def test_a_folder_of_a_run_and_one_of_others(tmp_path):
    assert run_output(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"negatives": "patch", "data": "x.beton"}')
    assert run_output(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run" / "config.json").write_text('{"name": "of another program"}')
    with pytest.raises(OutputError, match=r"config\.json that is not fastneg's"):
        run_output(tmp_path / "run")


def test_an_input_is_not_written_over(tmp_path):
    evaluation_output(tmp_path, predictions=["val"])
    answers = tmp_path / "predictions" / "val.npz"
    answers.parent.mkdir()
    answers.write_bytes(b"an input")
    with pytest.raises(OutputError):
        evaluation_output(tmp_path, [str(answers)], predictions=["val"])


def test_files_of_a_run_are_its_inputs_and_no_outputs(tmp_path):
    (tmp_path / "config.json").write_text('{"negatives": "patch", "data": "x.beton"}')
    assert any(str(path).endswith("x.beton") for path in run_inputs(tmp_path))
    with pytest.raises(OutputError):
        refuse_among(tmp_path / "checkpoints" / "step-000000001.pt", tmp_path)

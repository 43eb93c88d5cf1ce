"""The config of every command: built from what it must be given, and refused where it cannot be."""

import pytest

from fastneg.config.base import ConfigError
from fastneg.config.data import EncodeConfig, TexturesConfig, VerifyConfig
from fastneg.config.evaluation import EvaluateConfig, FinetuneConfig, KnnConfig, LinearConfig
from fastneg.config.normalisation import IMAGENET, Normalisation
from fastneg.config.pretrain import PretrainConfig
from fastneg.config.tools import ExportConfig, ImportConfig, ReportConfig

GIVEN = {
    EncodeConfig: ("src", "x.beton"),
    TexturesConfig: ("src", "out"),
    VerifyConfig: ("x.beton",),
    LinearConfig: ("run", "a.beton", "b.beton"),
    FinetuneConfig: ("run", "a.beton", "b.beton"),
    KnnConfig: ("run", "a.beton", "b.beton"),
    EvaluateConfig: ("run", "val=b.beton"),
    PretrainConfig: (),
    ImportConfig: ("weights.pth", "run"),
    ReportConfig: (("run",), "report.html"),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_each_config_comes_back_from_its_fields(kind):
    config = kind(*GIVEN[kind])
    assert kind(**config.as_dict()) == config == config.replace()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (EncodeConfig, {"workers": -1}),
        (LinearConfig, {"epochs": 0}),
        (LinearConfig, {"batch_size": "8"}),
        (PretrainConfig, {"temperature": 0.0}),
        (PretrainConfig, {"cuda_graphs": "false"}),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(kind, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        kind(*GIVEN[kind], **wrong)


def test_a_choice_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="format"):
        ExportConfig("out", "run", "x")


def test_the_normalisation_of_imagenet():
    assert isinstance(IMAGENET, Normalisation)
    assert list(IMAGENET.mean) == [0.485, 0.456, 0.406]

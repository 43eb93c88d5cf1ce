"""What own networks give: what is taken for features, and what is refused."""

import pytest
import torch

from fastneg.config import ConfigError
from fastneg.errors import TrainingError
from fastneg.models.own_networks import named, own_network
from fastneg.models.own_outputs import images_of
from helpers import own_nets


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (own_nets.ChannelsLast(), r"gives \(2, 8, 8, 4\) .*let forward return out.permute"),
        (own_nets.Double(), r"not all of its parameters are: call .float\(\) on it"),
        (own_nets.Whole(), r"gives \(2, 4\) of int64 .*of floats were expected"),
    ],
)
def test_other_outputs_are_refused(network, said):
    with pytest.raises(ConfigError, match=said):
        own_network(named(network, 32), 32)


def test_a_map_in_training_mode_is_averaged_as_well():
    network, width = own_network(named(own_nets.Changing(), 32), 32)
    images = images_of(32, 2)
    assert width == 4 and network.training
    torch.testing.assert_close(network(images), network.eval()(images))


@pytest.mark.parametrize(
    ("in_training", "said"),
    [("wider", r"gives \(2, 8\) in training"), ("tuple", r"gives tuple of .* in training")],
)
def test_other_features_in_training_mode_are_refused(in_training, said):
    network, _ = own_network(named(own_nets.Changing(in_training), 32), 32)
    assert network.eval()(images_of(32, 2)).shape == (2, 4)
    with pytest.raises(TrainingError, match=said):
        network.train()(images_of(32, 2))


def test_what_gives_features_without_a_gradient_has_no_part_in_them():
    network, _ = own_network(named(own_nets.WithoutGradient(), 32), 32)
    assert not any(each.requires_grad for each in network.parameters())
    assert "2 parameters of it (first: layer.weight) have no part" in "\n".join(network.told)

"""A config that exists is valid, and every value in it has an effect.

For fastneg.config.base, fastneg.config.data, fastneg.config.evaluation, fastneg.config.pretrain and
fastneg.config.tools.
"""

from dataclasses import dataclass

import pytest

from fastneg.config import Config, ConfigError, option
from fastneg.recipes.presets import PRESETS


@dataclass(frozen=True)
class Meal(Config):
    dish: str = option("soup", choices=("soup", "bread", "salad"))
    spoon: str | None = option(None, choices=("long", "short"), by=("dish", {"soup": "long"}))
    grams: float | None = option(None, above=0, by=("dish", {"bread": 50.0, "salad": 200.0}))
    polish: int | None = option(None, by=("spoon", {"long": 3}))


def test_a_governed_field_has_the_default_of_the_choice():
    assert Meal() == Meal("soup", "long", None, 3)
    assert (
        Meal("bread").grams == 50.0 and Meal("salad").grams == 200.0 and Meal("salad").spoon is None
    )
    assert Meal(spoon="short").polish is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"dish": "bread", "spoon": "long"},
            "--spoon is 'long', which has no effect with --dish bread (only with soup): leave it "
            "out.",
        ),
        ({"grams": 50.0}, "no effect with --dish soup (only with bread or salad)"),
        ({"dish": "salad", "grams": 0}, "must be more than 0"),
        ({"dish": "bread", "polish": 3}, "no effect with --spoon None"),
        ({"dish": "cake"}, "one of soup, bread, salad"),
    ],
)
def test_a_value_without_effect_is_refused(given, said):
    with pytest.raises(ConfigError) as refused:
        Meal(**given)
    assert said in str(refused.value)


def test_replace_takes_the_defaults_of_another_choice_but_keeps_what_it_is_given():
    assert Meal(polish=7).replace(dish="bread") == Meal("bread")
    assert Meal("bread", grams=80.0).replace(dish="salad").grams == 200.0
    assert Meal("bread", grams=80.0).replace(dish="salad", grams=90.0).grams == 90.0
    assert Meal("bread", grams=80.0).replace(dish="bread").grams == 80.0
    assert Meal("bread").replace(dish="soup", polish=5) == Meal(polish=5)
    with pytest.raises(ConfigError, match="no effect"):
        Meal().replace(dish="bread", spoon="short")


def test_a_config_comes_back_from_its_fields():
    for meal in (Meal(), Meal("salad"), Meal(spoon="short")):
        assert Meal(**meal.as_dict()) == meal


def test_a_preset_with_textures_has_a_baseline_without():
    """What belongs to textures goes with them; what is given for them all the same is refused."""
    textures = PRESETS["moco_texture_in100"]()
    for negatives in ("none", "patch"):
        plain = textures.replace(negatives=negatives)
        assert plain.texture_source is None and plain.negatives == negatives
    assert (
        textures.replace(negatives="patch,texture").texture_source
        == textures.texture_source
        == "image"
    )
    with pytest.raises(ConfigError, match="it has an effect with texture among --negatives only"):
        textures.replace(negatives="patch", texture_source="view")

"""Test sets by name and path."""

import pytest

from fastneg.config import ConfigError
from fastneg.evaluation.sets.named import parse_sets


def test_sets_by_name():
    assert parse_sets("val=a.beton, r=b=c.beton") == {
        "val": ("a.beton", None, None),
        "r": ("b=c.beton", None, None),
    }
    assert parse_sets("t=a:texture,u=c:/a:b,v=x:") == {
        "t": ("a", "texture", None),
        "u": ("c:/a:b", None, None),
        "v": ("x:", None, None),
    }
    assert parse_sets("e=a:resize=none,f=b:resize=256:accuracy,g=c:/b:accuracy:resize=none") == {
        "e": ("a", None, "none"),
        "f": ("b", "accuracy", 256),
        "g": ("c:/b", "accuracy", "none"),
    }
    assert parse_sets("h=a:accuracy:texture") == {"h": ("a:accuracy", "texture", None)}, (
        "the second metric is a part of the path"
    )
    assert list(parse_sets("b=1,a=2")) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.beton", "'a.beton'"),
        ("a=", "'a='"),
        ("=b", "'=b'"),
        ("a=1,", "''"),
        ("a=1,a=2", "twice"),
        ("a/b=1,a-b=2", "twice"),
        ("a-b=1,a/b=2", "twice"),
        ("a=:texture", "metric is one"),
        ("a=b:resize=off", "resize=none, or resize=256"),
        ("a=b:resize=0", "resize=none, or resize=256"),
        ("a=:resize=none", "metric is one"),
    ],
)
def test_sets_that_cannot_be_read(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_sets(text)

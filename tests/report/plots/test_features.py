"""Plots of features: similarities, embeddings, reliability; the dots of classes."""

import math

import numpy as np

from fastneg.report.plots import accuracy, features, style


def test_histograms_are_densities_over_bins_of_any_width():
    axes = features.similarity(
        style.PAGE, 0, [0.0, 0.5, 1.0, 1.1], {"positive": [1, 1, 2], "queue": [0, 0, 0]}
    ).axes[0]
    heights = axes.patches[0].get_data().values
    assert np.allclose(heights, [0.5, 0.5, 5.0]) and math.isclose(
        float(np.sum(heights * [0.5, 0.5, 0.1])), 1.0
    )
    assert len(axes.patches) == 2  # outline and filling of the one that has counts


def test_an_embedding_colours_the_commonest_classes():
    labels = ["rare", *["b"] * 3, *["a"] * 2]
    assert features.classes_in_colour(labels, most=2) == ["a", "b"]
    figure = features.embedding(
        style.PAGE, [[i, -i] for i in range(6)], labels, ["a", "b"], [41.0, 13.0]
    )
    grey, first, second = figure.axes[0].collections
    assert [len(c.get_offsets()) for c in (grey, first, second)] == [1, 2, 3]
    assert "41% of the variance" in figure.axes[0].get_xlabel()
    figure = features.embedding(style.PAGE, [[0, 1]], ["a"], ["a"], by="umap")
    assert "UMAP" in figure.axes[0].get_xlabel() and not figure.axes[0].get_ylabel()


def test_reliability_and_class_dots_stand_where_their_figures_are():
    axes = features.reliability(style.PAGE, [[(20.0, 10.0, 5), (90.0, 80.0, 50)]]).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[20.0, 10.0], [90.0, 80.0]]
    axes = accuracy.class_dots(style.PAGE, ["cat", "dog"], [{"dog": 30.0}]).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[30.0, 1.0]]

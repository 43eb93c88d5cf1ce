import numpy as np
import pytest

from fastneg.data.load.order import EpochOrder


def whole(order, epoch=0):
    return np.concatenate([order.batch(epoch, i) for i in range(order.iterations)])


def test_an_epoch_covers_what_it_promises():
    dropped = whole(EpochOrder(103, 10, seed=1))
    assert (
        dropped.dtype == np.int64
        and len(dropped) == len(set(dropped.tolist())) == 100
        and set(dropped.tolist()) < set(range(103))
    )
    padded = EpochOrder(103, 10, seed=1, last="pad")
    counted = [padded.batch(0, i)[: padded.valid(i)] for i in range(padded.iterations)]
    assert sorted(np.concatenate(counted).tolist()) == list(range(103))
    # filled with repeats of the last sample
    assert (padded.batch(0, 10)[3:] == padded.batch(0, 10)[2]).all()
    assert [padded.valid(i) for i in (0, 9, 10)] == [10, 10, 3]


@pytest.mark.parametrize("last", ["drop", "pad"])
@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_ranks_share_the_batches_of_one_process(last, world_size):
    one = EpochOrder(100, 12, seed=5, last=last)
    ranks = [
        EpochOrder(100, 12, seed=5, rank=rank, world_size=world_size, last=last)
        for rank in range(world_size)
    ]
    assert {rank.iterations for rank in ranks} == {one.iterations}
    for i in range(one.iterations):
        parts = [rank.batch(3, i) for rank in ranks]
        assert {len(part) for part in parts} == {12 // world_size}
        np.testing.assert_array_equal(np.concatenate(parts), one.batch(3, i))
        assert sum(rank.valid(i) for rank in ranks) == one.valid(i)


def test_any_batch_at_any_time():
    order = EpochOrder(50, 5, seed=2)
    expected = {(epoch, i): order.batch(epoch, i).copy() for epoch in range(3) for i in range(10)}
    for epoch, i in [(2, 9), (0, 0), (1, 4), (2, 0), (0, 9)]:
        np.testing.assert_array_equal(order.batch(epoch, i), expected[epoch, i])
        np.testing.assert_array_equal(EpochOrder(50, 5, seed=2).batch(epoch, i), expected[epoch, i])


def test_a_batch_is_the_callers_own():
    order = EpochOrder(20, 5)
    before = order.batch(0, 1).copy()
    order.batch(0, 1)[:] = 0
    np.testing.assert_array_equal(order.batch(0, 1), before)


def test_epochs_and_seeds_differ_and_an_unshuffled_order_is_the_files():
    orders = [
        whole(EpochOrder(1000, 10, seed=seed), epoch).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert whole(EpochOrder(1000, 10, order="sequential"), 7).tolist() == list(range(1000))


def test_every_order_is_equally_likely():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), EpochOrder(4, 4, seed=seed).batch(0, 0)] += 1
    # each sample in each place: 5 standard deviations
    assert abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_the_order_is_the_same_with_every_numpy():
    # The sorted raw stream of PCG64(SeedSequence([7, 3])), computed once: checkpoints rely on it.
    assert whole(EpochOrder(10, 5, seed=7), 3).tolist() == [2, 4, 7, 3, 5, 1, 8, 9, 0, 6]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"length": 0}, "length is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2: with a world_size of 2"),
        ({"world_size": 4}, "multiple of world_size 4"),
        ({"last": "keep"}, "last is 'keep'"),
        ({"length": 9}, "length is 9, less than one batch of 10"),
    ],
)
def test_settings_that_cannot_be(arguments, said):
    with pytest.raises(ValueError, match=said):
        EpochOrder(**{"length": 100, "batch_size": 10, **arguments})


def test_a_small_set_can_be_padded():
    order = EpochOrder(3, 8, last="pad", world_size=4, rank=3)
    assert order.iterations == 1 and order.valid(0) == 0 and len(order.batch(0, 0)) == 2


def test_places_that_are_not_there():
    order = EpochOrder(100, 10)
    for iteration in (-1, 10):
        with pytest.raises(IndexError, match="an epoch has 10"):
            order.batch(0, iteration)
    with pytest.raises(ValueError, match="epoch is -1"):
        order.batch(-1, 0)


# Page order


def paged(length, page=75, **settings):
    return EpochOrder(length, 12, order="page", pages=np.arange(length) // page, **settings)


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
@pytest.mark.parametrize("last", ["drop", "pad"])
def test_page_order_takes_every_sample_once_whatever_the_number_of_ranks(world_size, last):
    length = 1003
    ranks = [
        paged(length, 40, window=4, seed=3, rank=rank, world_size=world_size, last=last)
        for rank in range(world_size)
    ]
    assert {rank.iterations for rank in ranks} == {1003 // 12 if last == "drop" else 84}
    seen = []
    for rank in ranks:
        for i in range(rank.iterations):
            batch = rank.batch(2, i)
            assert len(batch) == 12 // world_size
            np.testing.assert_array_equal(batch, ranks[0].global_batch(2, i)[rank.rows])
            seen += batch[: rank.valid(i)].tolist()
    assert len(seen) == len(set(seen)) == (996 if last == "drop" else 1003)


def test_page_order_reads_pages_whole_and_within_a_window():
    """A rank takes up a page, uses it up within its window, and does not come back: so it is read
    once, in one piece."""
    for rank in range(2):
        order = paged(6000, 75, window=8, seed=1, rank=rank, world_size=2)
        pages = whole(order, 1) // 75
        first, last = {}, {}
        for place, page in enumerate(pages.tolist()):
            first.setdefault(page, place)
            last[page] = place
        assert len(first) <= 41  # half of 80 pages, and one that it shares with its neighbour
        assert max(last[page] - first[page] for page in first) < 8 * 75
    assert not np.array_equal(whole(order, 1), whole(order, 2))


def test_page_order_mixes_the_classes_of_a_sorted_file():
    """100 classes of 1300 samples one after the other, 75 samples a page: a batch of 256 shows most
    of a window's 64 pages."""
    labels = np.repeat(np.arange(100), 1300)
    order = EpochOrder(len(labels), 256, order="page", pages=np.arange(len(labels)) // 75, seed=0)
    kinds = [len(set(labels[order.batch(0, i)].tolist())) for i in range(0, order.iterations, 10)]
    assert min(kinds[:-1]) > 35  # a random order shows about 92, the order of the file one or two
    biggest = [np.bincount(labels[order.batch(0, i)]).max() for i in range(0, order.iterations, 10)]
    assert np.median(biggest) < 256 * 0.1


def test_page_order_can_start_anywhere():
    one, other = paged(1000, seed=4), paged(1000, seed=4)
    expected = [one.batch(3, i) for i in range(one.iterations)]
    for i in (60, 3, 82):
        np.testing.assert_array_equal(other.batch(3, i), expected[i])


@pytest.mark.parametrize("order", ["random", "page", "sequential"])
@pytest.mark.parametrize("start", [0, 7, 80])
def test_what_is_due_was_read_ahead(order, start):
    """Whatever a batch takes was announced before its turn, once each, from wherever the epoch
    began."""
    drawn = EpochOrder(
        1000,
        12,
        order=order,
        pages=np.arange(1000) // 20 if order == "page" else None,
        window=5,
        rank=1,
        world_size=2,
    )
    announced = []
    for i in range(start, drawn.iterations):
        announced += drawn.ahead(1, i, first=i == start).tolist()
        assert set(drawn.batch(1, i).tolist()) <= set(announced)
    assert len(announced) == len(set(announced))
    if order == "page":  # never more than two windows beyond what was used
        assert len(drawn.ahead(1, 0, first=True)) <= 2 * 5 * 20


def test_pages_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="pages are missing"):
        EpochOrder(100, 10, order="page")
    with pytest.raises(ValueError, match="pages are given"):
        EpochOrder(100, 10, pages=np.zeros(100))
    with pytest.raises(ValueError, match=r"shape \(99,\)"):
        EpochOrder(100, 10, order="page", pages=np.zeros(99))
    with pytest.raises(ValueError, match="order is 'shuffled'"):
        EpochOrder(100, 10, order="shuffled")
    with pytest.raises(ValueError, match="window is 0"):
        EpochOrder(100, 10, order="page", pages=np.zeros(100), window=0)

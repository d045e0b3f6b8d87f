"""Rungs: which runs go on."""

import numpy as np

from sweep.search import halving


def test_crowding_distance_by_hand():
    # Deb et al. 2002: the neighbours' distance over the range, summed; here 3/4 + 3/4 and 3/4 + 3/4.
    assert halving.crowding([(0, 4), (1, 3), (3, 1), (4, 0)]).tolist() == [np.inf, 1.5, 1.5, np.inf]


def test_a_small_network_is_promoted_beside_a_better_large_one():
    # After one epoch: a large good one, a large bad one, a small bad one that is beaten by none of its size.
    losses = {1: {10: (-0.9, 100.0), 11: (-0.5, 100.0), 12: (-0.4, 1.0)}, 3: {}}
    reached = dict.fromkeys((10, 11, 12), 1)
    waiting = [10, 11, 12]
    assert halving.promotion(reached, waiting, losses, (1, 3), reduction=3) in ((10, 3), (12, 3))
    losses[1] |= {13: (-0.45, 90.0), 14: (-0.3, 80.0), 15: (-0.2, 70.0)}
    promoted = []
    while (found := halving.promotion(reached | dict.fromkeys(promoted, 3), waiting, losses, (1, 3), 3)) is not None:
        promoted.append(found[0])
    assert sorted(promoted) == [10, 12], "a third of six: the two that stand for all others"


def test_nothing_is_promoted_before_there_is_a_choice():
    assert halving.promotion({1: 1, 2: 1}, [1, 2], {1: {1: (0.0,), 2: (1.0,)}, 3: {}}, (1, 3), reduction=3) is None


def test_ties_do_not_depend_on_the_order_of_events():
    losses = {i: (float(i % 3), float(-i % 3)) for i in range(9)}
    waiting = list(range(9))
    found = {
        halving.promotion(dict.fromkeys(order, 1), waiting, {1: {i: losses[i] for i in order}, 3: {}}, (1, 3), 3)
        for order in (waiting, waiting[::-1])
    }
    assert len(found) == 1


def test_the_highest_rung_goes_first():
    losses = {1: {i: (float(i),) for i in range(6)}, 3: {i: (float(i),) for i in range(3)}, 9: {}}
    reached = {0: 3, 1: 3, 2: 3, 3: 1, 4: 1, 5: 1}
    assert halving.promotion(reached, list(range(6)), losses, (1, 3, 9), reduction=3) == (0, 9)

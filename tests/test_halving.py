"""Rungs: which runs go on."""

import numpy as np

from sweep.search import halving


def test_crowding_distance_by_hand():
    # Deb et al. 2002: the neighbours' distance over the range, summed; here 3/4 + 3/4 and 3/4 + 3/4.
    assert halving.crowding([(0, 4), (1, 3), (3, 1), (4, 0)]).tolist() == [np.inf, 1.5, 1.5, np.inf]


def test_a_small_network_is_promoted_beside_a_better_large_one():
    # After one epoch: a large good one, a large bad one, a small bad one that is beaten by none of its size.
    losses = {10: (-0.9, 100.0), 11: (-0.5, 100.0), 12: (-0.4, 1.0)}
    assert halving.promoted(losses, reduction=3) in ([10], [12])
    losses |= {13: (-0.45, 90.0), 14: (-0.3, 80.0), 15: (-0.2, 70.0)}
    assert sorted(halving.promoted(losses, reduction=3)) == [10, 12], (
        "a third of six: the two that stand for all others"
    )


def test_nothing_is_promoted_before_there_is_a_choice():
    assert halving.promoted({1: (0.0,), 2: (1.0,)}, reduction=3) == []
    assert halving.promoted({}, reduction=3) == []


def test_ties_do_not_depend_on_the_order_of_events():
    losses = {i: (float(i % 3), float(-i % 3)) for i in range(9)}
    assert halving.promoted(losses, 3) == halving.promoted(dict(reversed(losses.items())), 3)

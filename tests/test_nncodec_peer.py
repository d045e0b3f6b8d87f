"""The comparison with NNCodec: which file counts, where the search looks, ratios of the same network's files.

NNCodec itself is not needed: its files are made by arithmetic here.
"""

from dataclasses import replace

from bench.nncodec_search import FINER, FINEST, SEARCHED, File, Settings, ladder, least, search, smallest

FLOAT = 0.9
ALLOWED = least(FLOAT)


def file_of(settings: Settings, size: int, validation_top1: float = FLOAT) -> File:
    return File(made_by=settings, size=size, validation_top1=validation_top1, top1=validation_top1)


def cliff(settings: Settings) -> File:
    """A byte less for each QP of both kinds. Beyond -21, or -17 without use_dq, accuracy falls by a point a QP.

    Training helps for two QPs more.
    """
    coarsest = (-21 if settings.use_dq else -17) + 2 * (settings.epochs > 0)
    drop = 0.01 * max(0, settings.qp - coarsest)
    return file_of(settings, 1000 - settings.qp - settings.nonweight_qp + 3 * (not settings.use_dq), FLOAT - drop)


def test_the_smallest_file_of_enough_accuracy_counts():
    files = [file_of(Settings(qp=-30), 30), file_of(Settings(qp=-20), 20, 0.897), file_of(Settings(qp=-10), 10, 0.89)]
    assert smallest(files, 0.897) == files[1]
    assert smallest(files[2:], 0.897) is None
    assert least(5000 / 5000) <= 4985 / 5000  # 15 of 5000 images are 0.3 points
    assert least(3959 / 5000) <= 3944 / 5000


def test_a_ladder_ends_far_below_and_looks_between_its_last_steps():
    files = ladder(cliff, Settings(qp=-26), ALLOWED)
    # -22 passes, -20, -18 lose 1 and 3 points, -16 loses 5; then the one between -22 and -20
    assert [file.made_by.qp for file in files] == [-26, -24, -22, -20, -18, -16, -21]
    assert smallest(files, ALLOWED) == files[-1]


def test_one_failure_does_not_end_a_ladder():
    def noisy(settings: Settings) -> File:
        return cliff(replace(settings, qp=-20)) if settings.qp == -26 else cliff(settings)

    assert smallest(ladder(noisy, Settings(qp=-26), ALLOWED), ALLOWED).made_by.qp == -21


def test_a_ladder_in_which_nothing_passes_has_no_file():
    files = ladder(lambda settings: file_of(settings, 1, 0.1), Settings(qp=FINEST), ALLOWED)
    assert [file.made_by.qp for file in files] == [FINEST]
    assert smallest(files, ALLOWED) is None


def test_the_search_combines_what_made_the_file_smaller():
    best = smallest(search(cliff, Settings(qp=FINEST), SEARCHED, ALLOWED), ALLOWED)
    assert best.made_by == Settings(qp=-17, nonweight_qp=-20, use_dq=False)


def test_a_changed_setting_begins_at_a_finer_qp():
    files = search(cliff, Settings(qp=FINEST), {"sparsity": (0.0, 0.3)}, ALLOWED)
    assert next(file.made_by.qp for file in files if file.made_by.sparsity) == -21 - FINER

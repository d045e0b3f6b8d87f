"""Amounts with units, as bounds of a search and of its answer."""

import pytest

from fire.cost import COSTS
from fire.errors import InputError, SpecError
from sweep.overrides import as_typed
from sweep.search import __main__ as command
from sweep.search.budget import SHORT, amount


@pytest.mark.parametrize(
    ("text", "number"),
    # kB and MB are powers of 10, KiB and MiB powers of 2: IEC 80000-13.
    [
        ("49152", 49_152),
        ("48e3", 48_000),
        ("62KiB", 63_488),
        ("62 KiB", 63_488),
        ("76kB", 76_000),
        ("76KB", 76_000),
        ("1.5MB", 1_500_000),
        ("1.5MiB", 1_572_864),
        (".5GiB", 536_870_912),
        ("12B", 12),
        ("1e3kB", 1_000_000),
    ],
)
def test_bytes(text, number):
    assert amount("peak_ram_bytes", text, "x") == number


@pytest.mark.parametrize(("text", "number"), [("12.51e6", 12_510_000), ("12.51M", 12_510_000), ("78.7k", 78_700)])
def test_counts(text, number):
    assert amount("macs", text, "x") == number


@pytest.mark.parametrize(
    "text", ["48KiX", "48kib", "48mB", "KiB", "1KiB2", "few", "", "1e", "1,5MB", "48M", "1e999999999kB"]
)
def test_units_that_do_not_exist_are_refused_on_one_line(text):
    with pytest.raises(SpecError) as caught:
        amount("flash_bytes", text, "--flash")
    units = "B, kB, KB, KiB, MB, MiB, GB, GiB"
    assert str(caught.value) == f"--flash must be a number, with a unit of {units} or without, got {text!r}"
    with pytest.raises(SpecError, match=r"^--macs must be a number, with a unit of k, M, G or without, got '5KiB'$"):
        amount("macs", "5KiB", "--macs")


def test_a_search_reads_the_same_units():
    assert as_typed("search.at_most.peak_ram_bytes=48KiB") == "search.at_most.peak_ram_bytes=49152"
    assert as_typed("search.at_most.macs=12.51M") == "search.at_most.macs=12510000"
    for plain in ("500e3", "null", "few", "1,2", "1_000"):  # Hydra's to read, or to refuse
        assert as_typed(f"search.at_most.size_bytes={plain}") == f"search.at_most.size_bytes={plain}"
    with pytest.raises(SpecError, match=r"^search.at_most.size_bytes must be a number, with a unit of B, .*'48kX'$"):
        as_typed("search.at_most.size_bytes=48kX")


@pytest.mark.parametrize("name", [*SHORT, *COSTS])
def test_every_cost_is_a_bound_of_the_answer_by_both_names(name, tmp_path):
    flag = f"--{name.replace('_', '-')}"
    cost = SHORT.get(name, name)
    with pytest.raises(InputError, match=f"^the results must hold a finished network with {cost}<=5, got none in "):
        command.answer(["best", str(tmp_path), flag, "5"])
    with pytest.raises(InputError, match=f"^--{cost.removesuffix('_bytes').replace('_', '-')} must be a numb"):
        command.answer(["best", str(tmp_path), flag, "5 apples"])

"""The paper's claims on its own metaparameters, each with the test that was chosen for it on 2026-11-28.

Of runs that ended later nobody knew the result then; of Fashion-MNIST, runs with one seed had ended before.

A test is a contrast: a weighted sum of the test accuracies of networks that differ in one metaparameter alone, computed
for each seed. Its mean has a 95 % interval, and p is that of the paired t-test, two-sided, that it is 0.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis import tables
from analysis.results import Results
from analysis.section import Section, notes_of
from fire.stats import p_of_zero


class Claim(NamedTuple):
    """A claim, the contrast in words, the metaparameter, and the weight of each of its values in the contrast."""

    text: str
    contrast: str
    metaparameter: str
    weights: dict[Any, float]


CLAIMS = (
    Claim(
        "a knee at SR 0.25",
        "gain from SR 0.125 to 0.25, less the gain from 0.25 to 0.5",
        "sr",
        {0.125: -1.0, 0.25: 2.0, 0.5: -1.0},
    ),
    Claim("50 % of 3x3 filters are enough", "50 % less 99 %", "pct_3x3", {0.5: 1.0, 0.99: -1.0}),
    Claim("simple bypass is best", "simple less none", "bypass", {"simple": 1.0, "none": -1.0}),
    Claim("simple bypass is best", "simple less complex", "bypass", {"simple": 1.0, "complex": -1.0}),
)
DIGITS = 12  # of a contrast: what is left of one that is 0, some 1e-16, would have a small p
NOTE = (
    "Contrasts of test top-1, chosen on 2026-11-28 and paired by seed, of networks that differ in one "
    "metaparameter. 95 % intervals are Student's t, p is of the two-sided paired t-test, not corrected for the number "
    "of claims; one seed has neither. A p above 0.05 does not show that networks are equally good: the interval says "
    "how far apart they may be."
)


def of(results: Results) -> Iterator[Section]:
    """The section of the report, if runs can test a claim."""
    found = tested(results.runs)
    if found:
        runs = pd.concat([test.runs for test in found])
        yield Section(
            title="The paper's claims, tested",
            tables=(("claims", table(found)),),
            notes=notes_of(NOTE, tables.differences(runs)),
        )


class Test(NamedTuple):
    """A claim, the runs that test it, alike in data, recipe and other settings, and the contrast for each seed."""

    claim: Claim
    runs: pd.DataFrame
    values: "pd.Series[float]"


def tested(runs: pd.DataFrame) -> list[Test]:
    """The tests of all claims on all sets of finished runs that can test them."""
    finished = runs[(runs["status"] == "finished") & (runs["compress"] == "none")]
    return [
        test
        for claim in CLAIMS
        for test in sorted(_tests(claim, finished), key=lambda test: tables.setting_of(test.runs))
    ]


def table(tests: Sequence[Test]) -> pd.DataFrame:
    """A row for each test.

    Columns: data, claim, contrast, network (where sets differ in it), n (seeds), difference (a fraction of 1) with the
    ends of its interval, p.
    """
    rows = [
        {
            "data": tables.setting_of(test.runs),
            "claim": test.claim.text,
            "contrast": test.claim.contrast,
            "n": len(test.values),
            **tables.interval("difference", test.values),
            "p": p_of_zero(test.values),
        }
        for test in tests
    ]
    found = pd.DataFrame(rows)
    if rows:
        networks = pd.DataFrame([test.runs.iloc[0].drop(test.claim.metaparameter) for test in tests])
        columns = [
            name for name in tables.network_columns(networks) if tables.differ_within(networks[name], found["data"])
        ]
        names = tables.names(networks, tables.telling(networks, columns))
        if any(names):
            found.insert(3, "network", names)
    return found


def _tests(claim: Claim, finished: pd.DataFrame) -> Iterator[Test]:
    """The sets of runs that differ in the claim's metaparameter and seed alone, each with its contrast by seed."""
    if claim.metaparameter not in finished:
        return
    chosen = finished[finished[claim.metaparameter].isin(list(claim.weights))]
    others = [name for name in tables.network_columns(chosen) if name != claim.metaparameter]
    settings = [chosen[name].map(repr) for name in others]
    # A pivot table for each set would take minutes where thousands of networks were trained.
    tried = chosen.groupby(settings, sort=False)[claim.metaparameter].transform("nunique")
    chosen = chosen[tried == len(claim.weights)]
    for _, part in chosen.groupby([column[chosen.index] for column in settings], sort=False):
        of_runs = part.astype({"top1": float})
        by_seed = of_runs.pivot_table(index="seed", columns=claim.metaparameter, values="top1", aggfunc="first")
        if set(claim.weights) <= set(by_seed):
            values = by_seed[list(claim.weights)].mul(list(claim.weights.values())).sum(axis=1, skipna=False).dropna()
            if len(values):
                yield Test(claim, part, values.round(DIGITS))

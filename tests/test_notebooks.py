"""The notebooks run from top to bottom on the committed results, and are committed without output."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from analysis.axes import AXES

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
RAM = AXES["peak_ram_bytes"]


def test_all_six_are_there():
    names = ["bypass", "compression", "design_space", "map", "pct_3x3_sweep", "sr_sweep"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.filterwarnings("default")  # of the Jupyter libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_figures(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in cells)
    assert not any(line.startswith(("def ", "class ")) for cell in cells for line in cell.source.splitlines())
    choice, _, rest = cells[0].source.partition("\n")
    assert choice.startswith(("RESULTS = None  #", "RESULTS, SWEEP = None, None  #")), "one line chooses"
    # Not those of the checkout's results/, where whoever runs this test may have sweeps of their own.
    cells[0].source = choice.replace("None", '"../docs/results"', 1) + "\n" + rest
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in cells for output in cell.outputs]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "image/svg+xml" in kinds
    assert "text/html" in kinds
    printed = "".join(output.get("text", "") for output in outputs)
    assert "../docs/results" in printed, "it names what it shows"
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem != "map"], ids=lambda path: path.stem)
def test_its_second_line_chooses_the_axis_of_figures_over_a_cost(path):
    first, *others = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    results = Path(__file__).parents[1] / "docs" / "results"
    program = first.replace("None", repr(str(results)), 1).replace("X = None", 'X = "peak_ram_bytes"')
    names: dict[str, Any] = {}
    exec("\n".join(line for line in program.splitlines() if not line.startswith("%")), names)
    chosen = names.get("chosen", ())
    if path.stem == "design_space":
        assert any("axes.chosen(X)" in source for source in others)
    else:
        assert {each.view.cost for each in (chosen if isinstance(chosen, tuple) else (chosen,))} == {RAM}

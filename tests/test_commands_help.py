"""Commands as they are typed: each answers --help, the page is served until Ctrl-C, publishing counts what it adds."""

import importlib
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from importlib.util import find_spec

import pytest

from sweep.commands import exits
from sweep.page import document
from sweep.publish import _main as publish_command
from sweep.watch import watch as watch_command
from tests.records import small_store
from tests.sweeping import ROOT
from tests.test_exits import begun


def commands(package: str) -> list[str]:
    """The modules of the package that can be run, by the names that python -m takes."""
    files = [path for path in (ROOT / package).rglob("*.py") if '\nif __name__ == "__main__":' in path.read_text()]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for path in files)


# Help of sweep itself: tests/test_cli.py.
COMMANDS = [*(set(commands("sweep")) - {"sweep"}), *commands("analysis"), "analysis map"]
BENCHMARKS = ["bench", "bench.chaos", "bench.folders", "bench.map", "bench.nncodec_peer", "bench.search"]
BENCHMARKS += ["bench.supernet", "bench.walk"]
COMPARED = pytest.param(
    "bench.compression", marks=pytest.mark.skipif(find_spec("zstandard") is None, reason="needs the extra bench")
)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_commands(command):
    asked = [sys.executable, "-m", *command.split(), "--help"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(rf"(usage: )?python -m {re.escape(command)} ", done.stdout)


@pytest.mark.parametrize("benchmark", [*BENCHMARKS, COMPARED])
def test_help_of_benchmarks(benchmark, monkeypatch, capsys):
    module = importlib.import_module(f"{benchmark}.__main__" if benchmark in ("bench", "bench.chaos") else benchmark)
    monkeypatch.setattr(sys, "argv", [benchmark, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    out, err = capsys.readouterr()
    assert (end.value.code, err) == (0, "")
    assert out.startswith(f"usage: python -m {benchmark} ")


needs_page = pytest.mark.skipif(not document.is_available(), reason="needs the extra page")


@needs_page
def test_the_page_is_served_until_ctrl_c(tmp_path):
    results = small_store(tmp_path).root
    process = begun(
        *("sweep.watch", str(results), "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        line = process.stdout.readline()
        shown = re.fullmatch(rf"{results}: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line)
        assert shown, line
        with urllib.request.urlopen(shown[1], timeout=60) as answer:
            assert answer.status == 200
            assert str(results) in answer.read().decode()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (130, "", "sweep.watch: interrupted\n")


@needs_page
def test_a_port_in_use_is_one_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = [str(tmp_path), "--port", str(taken.getsockname()[1])]
        with pytest.raises(SystemExit) as end:
            exits.guarded("sweep.watch", lambda: watch_command(arguments))
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("sweep.watch: ")
    assert "Address already in use" in err


def test_publishing_says_how_much_it_adds(tmp_path, capsys):
    results, published = small_store(tmp_path / "results").root, tmp_path / "published"
    for added in ("3 runs and 1 sweep", "0 runs and 0 sweeps"):  # of four runs one failed; then all is there
        publish_command([str(results), str(published)])
        line = f"{published}: {added} of {results} added or replaced\n"
        assert capsys.readouterr() == (line, "")


def test_publishing_from_nowhere_is_a_line_and_changes_nothing(tmp_path, capsys):
    published = small_store(tmp_path / "published").root
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    publish_command([str(tmp_path / "missing"), str(published)])
    out, err = capsys.readouterr()
    assert err == f"sweep.publish: there is no folder {tmp_path / 'missing'}\n"
    assert ": 0 runs and 0 sweeps of " in out
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before


def test_publishing_into_a_file_is_one_line(tmp_path, capsys):
    results, published = small_store(tmp_path / "results").root, tmp_path / "file"
    published.write_text("kept")
    with pytest.raises(SystemExit) as end:
        exits.guarded("sweep.publish", lambda: publish_command([str(results), str(published)]))
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("sweep.publish: ")
    assert str(published) in err
    assert published.read_text() == "kept"

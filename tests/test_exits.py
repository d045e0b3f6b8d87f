"""How commands end when their output has nowhere to go, or they are interrupted: each in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

from analysis.__main__ import write as analysis_command
from fire.errors import DataError, InputError, MissingDataError
from sweep.commands.exits import BAD_INPUT, ELSEWHERE, FAILED, INTERRUPTED, NO_DATA, RunsError, guarded, runs_begun
from sweep.search.__main__ import answer as search_command
from sweep.store import Store
from tests.sweeping import ROOT, TINY, point

SHORT = ("-m", *TINY, "train.epochs=1", "data.limit=64", "seed=0,1", "workers=1")


def begun(*arguments: str, **streams) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, text=True, **streams)


def test_a_reader_that_goes_away_does_not_end_a_sweep(tmp_path):
    arguments = (*SHORT, f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    process = begun("sweep", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()  # as head does
    assert (process.stderr.read(), process.wait(120)) == ("", 0)
    process.stderr.close()
    keys = [point(*TINY, "train.epochs=1", "data.limit=64", f"seed={seed}").key for seed in (0, 1)]
    assert all(Store(tmp_path / "results").is_done(key) for key in keys)


@pytest.mark.parametrize("program", ["sweep", "sweep.search"])
def test_help_on_a_full_disk(program):
    with open("/dev/full", "w") as full:
        process = begun(program, "--help", stdout=full, stderr=subprocess.PIPE)
        err = process.communicate(timeout=120)[1]
    assert (process.returncode, err) == (1, f"{program}: the output cannot be written (No space left on device)\n")


def test_help_for_a_reader_that_is_gone():
    reader, writer = os.pipe()
    os.close(reader)
    process = begun("sweep", "--help", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (process.communicate(timeout=120)[1], process.returncode) == ("", 0)


def test_an_error_that_nobody_reads_keeps_its_exit_code():
    process = begun("sweep", "arch.sr=7", stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(2))
    assert process.wait(120) == 2


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [(["sweep"], -signal.SIGINT, "interrupted\n"), (["analysis", "results"], 130, "analysis: interrupted\n")],
)
def test_ctrl_c_while_a_command_imports_is_one_line(program, code, line, tmp_path):
    for library in ("hydra", "matplotlib"):  # found before the real ones
        (tmp_path / f"{library}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    process = begun(
        *program,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    err = process.communicate(timeout=120)[1]
    assert (process.returncode, err) == (code, line)


@pytest.mark.parametrize(
    ("command", "arguments", "shown"),
    [
        (search_command, ["worst"], "argument what: invalid choice: 'worst'"),
        (search_command, ["best", "--size-bytes"], "argument --size/--size-bytes: expected one argument"),
        (analysis_command, [], "the following arguments are required: results"),
        (analysis_command, ["results", "--nope"], "unrecognized arguments: --nope"),
    ],
)
def test_arguments_that_do_not_exist_are_one_line(command, arguments, shown):
    with pytest.raises(InputError) as caught:
        command(arguments)
    assert str(caught.value).startswith(f"arguments must be as --help shows them: {shown}")


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("data.root must be a folder"), BAD_INPUT, "data.root must be a folder"),
        (MissingDataError("there is none"), NO_DATA, "there is none"),
        (PermissionError(13, "Permission denied", "/a/b"), BAD_INPUT, "'/a/b' cannot be used (Permission denied)"),
        (OSError(28, "No space left on device"), BAD_INPUT, "a file cannot be used (No space left on device)"),
        (RunsError("1 run is under way elsewhere", ELSEWHERE), ELSEWHERE, "1 run is under way elsewhere"),
        (
            InputError("a\nb must be one line, got '\x1b[2J größe'"),
            BAD_INPUT,
            r"a\nb must be one line, got '\x1b[2J größe'",
        ),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted; go on"),
    ],
)
def test_each_outcome_has_a_line_and_an_exit_code(error, code, line, capsys):
    with pytest.raises(SystemExit) as caught:
        guarded("program", raising(error), "; go on")
    assert caught.value.code == code
    assert capsys.readouterr().err == f"program: {line}\n"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), DataError("the data are gone")])
def test_what_fails_after_runs_have_begun_is_no_bad_input(error, capsys):
    def command() -> None:
        with runs_begun():
            raise error

    with pytest.raises(SystemExit) as caught:
        guarded("program", command)
    assert caught.value.code == FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded("program", raising(ZeroDivisionError()))


@pytest.mark.parametrize("program", ["sweep", "sweep.device"])
def test_commands_that_train_name_the_one_for_the_digits_where_data_are_missing(program, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [program, "peak_ram=48KiB", "data=svhn", "data.limit=9", "--out", "a b"])
    with pytest.raises(SystemExit) as caught:
        guarded(program, raising(MissingDataError("there is none")))
    assert caught.value.code == NO_DATA
    instead = f"python -m {program} peak_ram=48KiB --out 'a b' data=digits"
    assert capsys.readouterr().err == (
        f"{program}: there is none. To train on scikit-learn's digits instead: {instead}\n"
    )

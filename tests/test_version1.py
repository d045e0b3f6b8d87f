"""Files of format version 1: refused in one line, which says how to convert them."""

import json
import subprocess
from pathlib import Path

import pytest

from fire.errors import InputError
from fire.weights import fcn
from fire.weights.version1 import convert

ROOT = Path(__file__).parents[1]
LAST_COMMIT = "9582719"  # that reads version 1
NETWORK = "docs/results/ee5e5f6410f08429/network.fcn"


def git(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, **options)


needs_history = pytest.mark.skipif(
    git("cat-file", "-e", f"{LAST_COMMIT}:{NETWORK}").returncode != 0, reason=f"needs commit {LAST_COMMIT}"
)


def test_version_1_is_refused_with_the_command_that_converts_it(tmp_path):
    (tmp_path / "old.fcn").write_bytes(fcn.MAGIC + b"\x01\x01" + bytes(100))
    for read in (fcn.load, fcn.load_header):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "old.fcn")
        assert str(caught.value).endswith(
            f"old.fcn': it is of format version 1; `git worktree add OLD {LAST_COMMIT} && "
            "python -m fire.weights.version1 OLD FILE` converts it"
        )


@needs_history
def test_the_conversion_gives_the_file_of_docs_results(tmp_path):
    """Its integers and steps were compared with what the former code reads."""
    archive = git("archive", LAST_COMMIT, "fire", check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=archive, check=True)
    path = tmp_path / "network.fcn"
    path.write_bytes(git("show", f"{LAST_COMMIT}:{NETWORK}", check=True).stdout)
    assert len(path.read_bytes()) == 16_663
    record = (ROOT / NETWORK).with_name("record.json").read_text()
    sizes = {"file_bytes": 16_663, "overhead_bytes": 999}
    path.with_name("record.json").write_text(json.dumps(json.loads(record) | sizes, indent=1))
    convert(tmp_path, path)
    assert path.read_bytes() == (ROOT / NETWORK).read_bytes()
    assert path.with_name("record.json").read_text() == record, "with the sizes of the new file"
    convert(tmp_path, path)
    assert path.read_bytes() == (ROOT / NETWORK).read_bytes(), "a file of version 2 stays as it is"

"""Which commit a result comes from."""

import subprocess

import pytest

from sweep import origin


def git(folder, *arguments: str) -> str:
    options = ["-c", "user.name=A", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The program's files in a repository of their own."""
    origin.git_state.cache_clear()
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(origin, "CHECKOUT", folder)
    yield folder
    origin.git_state.cache_clear()


def commit(folder) -> str:
    (folder / "file").write_text("1")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD")


def test_a_checkout_has_a_commit_and_says_whether_files_differ(checkout):
    head = commit(checkout)
    assert origin.git_state() == (head, False)
    (checkout / "file").write_text("2")
    origin.git_state.cache_clear()
    assert origin.git_state() == (head, True)


def test_an_unpacked_archive_has_not_the_commit_of_the_repository_around_it(checkout):
    commit(checkout.parent)
    assert origin.git_state() == (None, None)


def test_variables_of_another_repository_do_not_matter(checkout, tmp_path, monkeypatch):
    head = commit(checkout)
    (tmp_path / "other").mkdir()
    commit(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert origin.git_state() == (head, False)

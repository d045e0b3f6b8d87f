"""What the server of the page answers, and what it refuses."""

import os
import urllib.request
from http.client import HTTPConnection

import pytest

from fire.errors import InputError
from sweep import watch
from sweep.page import document
from tests.pages import served


def asked(server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/runs", 200),
        ("/run?key=a", 200),
        ("/run?key=../outside", 404),
        ("/run?key=%2e%2e%2foutside", 404),
        ("/run?key=sweeps", 404),
        ("/run?key=", 404),
        ("/run?key=a%00", 404),
        ("/../../etc/passwd", 404),
        ("/a/record.json", 404),
        ("//[", 404),
    ],
)
def test_nothing_is_served_but_the_page_and_its_runs(store, path, status):
    with served(store.root) as server:
        asked(server, "/runs")
        assert asked(server, path)[0] == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:80", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_a_site_that_resolves_its_name_to_us_gets_no_answer(store, host, status):
    with served(store.root) as server:
        assert asked(server, "/runs", host)[0] == status


def test_a_folder_may_have_a_name_in_another_encoding(tmp_path):
    with served(tmp_path / os.fsdecode(b"caf\xe9")) as server:
        status, page = asked(server, "/")
    assert status == 200
    assert "caf\\udce9" in page


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(store, method):
    with served(store.root) as server:
        assert asked(server, "/", method=method)[0] == 501


def test_it_listens_on_this_machine_alone_and_forbids_scripts_of_others(store):
    with served(store.root) as server:
        assert server.server_address[0] == "127.0.0.1"
        with urllib.request.urlopen(server.url) as answer:
            policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy


def test_a_folder_or_port_that_cannot_be_used_is_said(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="the results must be a readable directory"):
        watch.watch([str(tmp_path / "missing")])
    with pytest.raises(InputError, match="--port must be in"):
        watch.watch([str(tmp_path), "--port", "70000"])
    monkeypatch.setattr(document, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"the extra page must be installed \(pip install"):
        watch.watch([str(tmp_path)])

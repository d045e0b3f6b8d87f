"""python -m sweep.watch [RESULTS]: show a folder of results in a browser, while a sweep runs and afterwards."""

import sys
import webbrowser
from pathlib import Path

from fire.errors import InputError, require
from sweep.commands import exits
from sweep.page import document
from sweep.page.server import Server
from sweep.page.snapshot import Snapshot


def main() -> None:
    """Run the command."""
    exits.main("sweep.watch", lambda: watch(sys.argv[1:]))


def watch(arguments: list[str]) -> None:
    """Serve the page until Ctrl-C. Raises InputError where the folder or the address cannot be used."""
    parser = exits.Parser(prog="python -m sweep.watch", description="A page that shows runs while they are trained.")
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="default: results")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8265, help="0: any that is free (default: 8265)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    given = parser.parse_args(arguments)
    require(0 <= given.port < 2**16, "--port", "in [0, 65535]", given.port)
    require(given.results.is_dir(), "the results", "a readable directory", str(given.results))
    document.require_available()
    try:
        server = Server(Snapshot(given.results), given.host, given.port)
    except OSError as error:
        address = f"{given.host}, port {given.port}"
        raise InputError(f"--host and --port must be a free address, got {address} ({error.strerror})") from error
    with server:
        print(f"{given.results}: {server.url} (Ctrl-C ends it)", flush=True)
        if given.open:
            webbrowser.open(server.url)
        server.serve_forever()


if __name__ == "__main__":
    main()

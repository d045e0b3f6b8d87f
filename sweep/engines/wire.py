"""What the launcher and its workers on other machines say to each other: JSON and bytes, which execute nothing.

A message is a JSON object whose `is` names its kind. The content of files follows a message as bytes.
"""

import dataclasses
import json
import socket
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from fire.train.progress import Epoch, Note, Progress
from sweep import typed
from sweep.config import Options, RunConfig

KEY_BYTES = 32
LONGEST = 2**26  # bytes of a message
REACHED_WITHIN = 10.0  # seconds, of an address
HANDSHAKE = 30.0  # seconds to wait for the other side's part of it

Said = dict[str, Any]  # a message, whose kind decides what is in it


class WireError(OSError):
    """The other side is gone, or sends what no version of this program sends."""


def say(connection: Connection, kind: str, **said: Any) -> None:
    """Send a message. Raises OSError if the other side is gone."""
    connection.send_bytes(json.dumps({"is": kind, **said}).encode())


def hear(connection: Connection, *kinds: str) -> Said:
    """Wait for a message of one of these kinds. Raises WireError."""
    try:
        said = json.loads(connection.recv_bytes(LONGEST))
    except (EOFError, OSError, ValueError) as error:
        raise WireError(f"the connection is closed ({type(error).__name__})") from error
    if not isinstance(said, dict) or said.get("is") not in kinds:
        raise WireError(f"a message must be {' or '.join(kinds)}, got {str(said)[:100]!r}")
    return said


def accepted(connection: Connection, key: bytes) -> bool:
    """Whether the other side, which has connected, has the key; it is shown that this side has it."""
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
    except Exception:  # whatever a stranger sends: it is no worker of ours
        return False
    return True


def connect(addresses: list[tuple[str, int]], key: bytes) -> Connection:
    """A connection to the first of the addresses where somebody has the key. Raises WireError if there is none."""
    why = "no address"
    for address in addresses:
        try:
            reached = socket.create_connection(address, timeout=REACHED_WITHIN)
            reached.settimeout(None)
            connection = over(reached)
        except OSError as error:
            why = f"{address[0]}:{address[1]}: {error}"
            continue
        try:
            if connection.poll(HANDSHAKE):
                answer_challenge(connection, key)
                deliver_challenge(connection, key)
                return connection
            why = f"{address[0]}:{address[1]} does not answer"
        except Exception as error:
            why = f"{address[0]}:{address[1]}: {type(error).__name__}: {error}"
        connection.close()
    raise WireError(f"the launcher cannot be reached: {why}")


def over(link: socket.socket) -> Connection:
    """The socket as a connection, which notices within two minutes that the other machine is gone."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Nobody probes while data is on its way: without the last of these the system sends it again for 15 minutes.
    linux = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 120_000}
    for name, value in linux.items():
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(link.detach())


def of_run(config: RunConfig, options: Options) -> Said:
    """The run, to be sent."""
    return {"config": {**config.parts, "seed": config.seed}, "options": dataclasses.asdict(options)}


def run_of(said: Said) -> tuple[RunConfig, Options]:
    """The run that was sent. Raises ValueError if this version knows no such run."""
    return RunConfig.of_parts(**said["config"]), typed.build(Options, said["options"])


def of_news(news: Progress | Note | str) -> Said:
    """News of a run, to be sent."""
    match news:
        case Progress():
            return {"progress": dataclasses.asdict(news)}
        case Note():
            return {"note": news.text}
        case str():
            return {"reason": news}


def news_of(said: Said) -> Progress | Note | str:
    """The news that were sent. Raises ValueError if they are none."""
    match said:
        case {"progress": dict() as fields}:
            curve = tuple(Epoch(**row) for row in fields.pop("curve"))
            return Progress(**fields, curve=curve)
        case {"note": str() as text}:
            return Note(text=text)
        case {"reason": str() as reason}:
            return reason
    raise ValueError("news must be progress, note or reason")

"""python -m bench.compression [--results DIR] [--released FILE] [--out FILE]: bytes of compressed networks, time."""

import argparse
from pathlib import Path

from bench import coders, onnx_peer
from bench.measure import markdown
from sweep import origin


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description="Bytes, against other ways.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="whose compressed networks to compare")
    parser.add_argument("--released", type=Path, default=Path("compressed_SqueezeNet.net"), help="the authors' file")
    parser.add_argument("--out", type=Path, default=Path("report/bench_compression.md"))
    chosen = parser.parse_args()
    rows = coders.rows(rounds=5, path=chosen.released) + onnx_peer.rows(chosen.results)
    text = f"<!-- python -m bench.compression: {origin.host()}, commit {origin.git_state()[0]} -->\n{markdown(rows)}"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

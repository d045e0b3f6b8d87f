"""The page as HTML: for a server, or frozen with everything in one file."""

import base64
import functools
import hashlib
import html
import json
from dataclasses import asdict
from importlib import metadata, util
from pathlib import Path
from string import Template
from typing import Any

from fire.errors import InputError, require
from fire.files import cache_folder, write
from sweep.axes import AXES, PLACES, CostAxis
from sweep.page.news import Detail, News
from sweep.page.snapshot import Snapshot
from sweep.rows import COLUMNS, SETTINGS

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("data.js", "elements.js", "chart.js", "table.js", "run.js", "page.js")  # in this order
BUNDLED = "vl-convert-python"  # the package that has Vega, Vega-Lite and Vega-Embed as JavaScript
MOST_SEEDS = 100  # with more, intervals are those of as many: wider by less than 2 %
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'"
LIVE_POLICY = (
    f"{NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
)


def is_available() -> bool:
    """Whether the extra [page] is installed."""
    return util.find_spec("vl_convert") is not None


def require_available() -> None:
    """Raise InputError unless the extra [page] is installed."""
    require(is_available(), "the extra page", "installed (pip install 'squeezenet-design-space[page]')", "none")


def live(root: Path) -> str:
    """The page that asks its server for runs. Its scripts and styles are files of the server."""
    return _page(
        title=html.escape(f"Runs of {root}"),
        policy="",
        style='<link rel="stylesheet" href="page.css">',
        scripts='<script src="vega.js"></script><script src="page.js"></script>',
        facts=dumped(_facts("size_mib")),
    )


def frozen(snapshot: Snapshot, *, title: str, summary: str, sections: str, x: CostAxis | None = None) -> str:
    """The page with all runs of the snapshot, whole without a network or other files.

    summary, sections: HTML below the title and below the table of runs. x: the horizontal axis that is shown first; if
    it is estimated, the chart has the cost that it is estimated from, and the page says so.
    """
    news = snapshot.news()
    keys = [str(dict(zip(news.columns, row, strict=True))["key"]) for row in news.rows]
    keys += [run.key for run in news.running if run.key not in keys]
    details = {key: detail_of(snapshot, key) | {"command": command_of(snapshot, key)} for key in keys}
    scripts, style = [vega(), script()], (ASSETS / "page.css").read_text("utf-8")
    digests = " ".join(f"'sha256-{_digest(text)}'" for text in scripts)
    return _page(
        title=html.escape(title),
        # Figures may have styles of their own; scripts are these two alone.
        policy=f"{NOTHING}; script-src {digests}; style-src 'unsafe-inline'; img-src data:",
        style=f"<style>\n{style}</style>",
        scripts="".join(f"<script>{text}</script>\n" for text in scripts),
        facts=dumped(_facts("size_mib" if x is None else x.column)),
        summary=summary + _axis_note(x),
        sections=sections,
        frozen=dumped({"news": as_json(news) | {"stamp": ""}, "details": details}),
    )


def as_json(news: News) -> dict[str, Any]:
    """The news as the page's scripts read it."""
    lists = {name: [asdict(each) for each in getattr(news, name)] for name in ("running", "sweeps", "maps")}
    return vars(news) | lists


def detail_of(snapshot: Snapshot, key: str) -> dict[str, Any]:
    """The details of a run as the page's scripts read them; empty for a text that is no run's key."""
    detail: Detail | None = snapshot.detail(key)
    return {} if detail is None else vars(detail) | {"curve": [vars(epoch) for epoch in detail.curve]}


def command_of(snapshot: Snapshot, key: str, *, check: bool = False) -> str:
    """The command that trains the run again, or why there is none. check: as sweep.again.overrides_of has it."""
    from sweep import again  # Hydra takes a second, which a first picture need not wait for

    record = snapshot.record(key)
    if record is None or record.config is None:
        return ""
    try:
        return again.command_of(again.overrides_of(record.config, check=check), [record.config.seed])
    except InputError as error:
        return f"# no command line of this version leads to it: {error}"


def script() -> str:
    """Our scripts, as one."""
    return "\n".join((ASSETS / name).read_text("utf-8") for name in SCRIPTS)


@functools.cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Making it takes seconds, so the user's cache folder keeps it."""
    path = cache_folder() / f"vega-{BUNDLED}-{metadata.version(BUNDLED)}.js"
    try:
        return path.read_text("utf-8")
    except OSError:
        pass
    import vl_convert

    made: str = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub has no default
    escaped = made.replace("</script", "<\\/script")
    bundle = f"(() => {{{escaped}\n}})();\n"  # in a function, since it has hundreds of global names
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, bundle)
    except OSError:  # next time it takes as long
        pass
    return bundle


def _facts(x: str) -> dict[str, Any]:
    """What does not change while the page is open."""
    from scipy.special import stdtrit  # it takes a third of a second

    return {
        "x": x,
        "axes": [
            axis._asdict() | {"metric": axis.metric, "places": PLACES.get(axis.column, ())} for axis in AXES.values()
        ],
        "record": COLUMNS,
        "network": list(dict.fromkeys(SETTINGS["arch"])),
        "recipe": [name for part in ("data", "train", "compress") for name in SETTINGS[part]],
        "student_t": [None, *(float(stdtrit(n, 0.975)) for n in range(1, MOST_SEEDS))],
    }


def _axis_note(x: CostAxis | None) -> str:
    """HTML that names the chart's axis if it is not x: the scripts know the costs in AXES alone."""
    if x is None or x in AXES.values():
        return ""
    (own,) = (axis.name for axis in AXES.values() if axis.column == x.column)
    return f"<p>The chart below is over {html.escape(own)}, to which the estimate is proportional.</p>"


def _page(**parts: str) -> str:
    template = Template((ASSETS / "page.html").read_text("utf-8"))
    return template.substitute({"summary": "", "sections": "", "frozen": "null"} | parts)


def dumped(value: Any) -> str:
    """The value as JSON in which no text can end a script element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

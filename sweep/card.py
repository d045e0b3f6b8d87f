"""The card of a network for a device: what it is, how good its files are, what it costs, where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass

from fire.cost import COSTS
from fire.machine.estimate import estimated_latency, macs_per_cycle
from fire.weights.header import Header
from sweep.commands.display import percent
from sweep.record import Record
from sweep.search.best import Candidate, again
from sweep.search.spec import AtMost
from sweep.store import COMPRESSED, INT8_ONNX, ONNX, WEIGHTS

CLOCK_HZ = 100e6  # of the estimates: a core twice as fast takes half as long


@dataclass(frozen=True, kw_only=True)
class Images:
    """The data set of a card: the number of images for validation and test, and a fingerprint of all images."""

    validation: int
    test: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What a card is about. record: the run in fp32, exported; compressed: the run of its compression.

    candidate: all seeds of the network. header: of its files. at_most: the budget.
    """

    candidate: Candidate
    record: Record
    compressed: Record
    header: Header
    images: Images
    at_most: AtMost


def text(delivered: Delivered) -> str:
    """The card, in Markdown. Only its last section differs between two exports of the same runs."""
    sections = [
        _about(delivered),
        _files(delivered),
        _costs(delivered),
        _estimates(delivered.record),
        _training(delivered),
        _provenance(delivered),
        _times(delivered.record),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _about(delivered: Delivered) -> list[str]:
    record, expects = delivered.record, delivered.header.preprocessing
    config = record.config
    assert config is not None
    seeds = delivered.candidate.seeds
    chosen = f", of {len(seeds)} seeds the best on the validation images" if len(seeds) > 1 else ""
    channels, side, classes = delivered.header.channels, expects.image_size, delivered.header.class_names
    return [
        f"# {config.family}, {record.parameters:,} parameters, for {record.data_title or config.data.name}",
        "",
        f"Trained for {record.epochs} epochs with seed {config.seed}{chosen}: {percent(record.validation_top1)} on "
        f"{delivered.images.validation:,} validation images.",
        "",
        f"- Input: 1 x {channels} x {side} x {side}, (pixel - mean) * scale with pixels from 0 to 255, "
        f"mean {_numbers(expects.mean)}, scale {_numbers(expects.scale)}",
        f"- Output: logits of the {len(classes)} classes {', '.join(classes)}",
    ]


def _files(delivered: Delivered) -> list[str]:
    record, compressed, images = delivered.record, delivered.compressed, delivered.images.test
    tuned = f", {record.tuned_epochs} epochs of fine-tuning" if record.tuned_epochs else ""
    rows = [
        (f"`{ONNX}`", "fp32", record.onnx_bytes, record.onnx_top1, record.onnx_loss),
        (f"`{INT8_ONNX}`", f"int8 (QDQ){tuned}", record.int8_bytes, record.int8_top1, record.int8_loss),
        (f"`{COMPRESSED}`", "compressed, by this program", compressed.file_bytes, compressed.top1, compressed.loss),
    ]
    cells = [
        (name, what, f"{size:,}", percent(top1), wilson(top1, images), f"{loss:.4f}")
        for name, what, size, top1, loss in rows
        if top1 is not None
    ]
    mean, low, high, seeds = delivered.candidate.test_top1
    over_seeds = f"{percent(low)} to {percent(high)}, Student's 95 % interval" if seeds > 1 else "no interval"
    return [
        "## Files",
        "",
        *_table(("file", "network", "bytes", "top-1", "95 % interval", "loss"), cells),
        "",
        f"Accuracy and loss are those of each file as it was written, over all {images:,} test images, by which "
        "nothing was chosen. The interval is Wilson's, for the number of images.",
        "",
        f"Over {seeds} seed{'s' * (seeds > 1)}, in fp32: {percent(mean)} ({over_seeds}).",
    ]


def _costs(delivered: Delivered) -> list[str]:
    bounds = delivered.at_most.bounds
    rows = []
    for cost in COSTS:
        value = getattr(delivered.record, cost)
        bound = bounds.get(cost)
        budget = ("-", "-") if bound is None else (f"{bound:,.0f}", f"{100 * value / bound:.0f} %")
        rows.append((cost, f"{value:,}", *budget))
    return [
        "## Costs",
        "",
        *_table(("cost", "network", "budget", "used"), rows),
        "",
        "peak_ram_bytes, weight_bytes and flash_bytes are of int8, by arithmetic: the tensors alive at once while the "
        "layers run one after the other, the weights and biases, and these with their scales. Code and runtime are not "
        "counted.",
    ]


def _estimates(record: Record) -> list[str]:
    rows = []
    for core in macs_per_cycle():
        found = estimated_latency(record.macs, core, CLOCK_HZ)
        spread = f"{1e3 * found.low:.1f} to {1e3 * found.high:.1f}" if found.points > 1 else "-"
        rows.append((core, f"{1e3 * found.seconds:.1f}", spread, str(found.points)))
    return [
        f"## Estimated latency at {CLOCK_HZ / 1e6:.0f} MHz",
        "",
        *_table(("core", "ms", "range", "published points"), rows),
        "",
        "An estimate: MACs over the MACs a cycle of published networks on that core. Nothing ran on these cores.",
    ]


def _training(delivered: Delivered) -> list[str]:
    record, compressed = delivered.record, delivered.compressed
    assert record.config is not None
    assert compressed.config is not None
    _, command = again(Candidate(config=record.config, records=(record,)))
    return [
        "## To make it again",
        "",
        "```sh",
        command,
        f"python -m sweep.export again/{record.key} --int8",
        f"python -m sweep.compress again/{record.key} compress={compressed.config.compress.method}",
        "```",
    ]


def _provenance(delivered: Delivered) -> list[str]:
    record, images = delivered.record, delivered.images
    assert record.config is not None
    changes = " with changes" if record.git_dirty else ""
    rows = [
        ("run", f"{record.key} ({WEIGHTS})"),
        ("compressed run", delivered.compressed.key),
        ("all seeds", " ".join(each.key for each in delivered.candidate.records)),
        ("data", f"{record.data_title or record.config.data.name}, fingerprint {images.fingerprint}"),
        ("commit", f"{record.git_commit or 'not known'}{changes}"),
        ("trained on", f"{record.host}; {record.device}, {record.precision}, threads: {record.threads}"),
        ("torch", str(record.torch)),
        ("onnxruntime", str(record.onnxruntime)),
    ]
    return ["## Provenance", "", *_table(("what", "which"), rows)]


def _times(record: Record) -> list[str]:
    measured = [
        (ONNX, record.onnx_latency_seconds, record.onnx_latency_spread),
        (INT8_ONNX, record.int8_latency_seconds, record.int8_latency_spread),
    ]
    rows = [
        (f"`{name}`", f"{1e3 * seconds:.3f}", f"{1e3 * spread:.3f}")
        for name, seconds, spread in measured
        if seconds is not None and spread is not None
    ]
    return [
        "## Measured times",
        "",
        *_table(("file", "ms", "between the quartiles"), rows),
        "",
        f"The median for one image in ONNX Runtime, on one thread of {record.onnx_host}.",
    ]


def wilson(top1: float, images: int) -> str:
    """The 95 % score interval of an accuracy over that many images."""
    from scipy.stats import binomtest  # here, as it takes half a second

    low, high = binomtest(round(top1 * images), images).proportion_ci(0.95, "wilson")
    return f"{percent(low)} to {percent(high)}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]

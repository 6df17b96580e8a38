"""The views that SQL is asked over: their columns, types and units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column: its name, DuckDB's type, and what it means, with its unit."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class View:
    """A view: its name, what one line of it is, its columns in order."""

    name: str
    line: str
    columns: tuple[Column, ...]


def _columns(*lines: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*line) for line in lines)


_CELL = _columns(
    ("subject", "VARCHAR", "the row with what was put into it, the block with its shape, or the "
     "network: in words"),
    ("row", "VARCHAR", "name of the row; NULL of a block alone or a network of yours"),
    ("block", "VARCHAR", "spec of a block that was timed alone"),
    ("network", "VARCHAR", "reference to a network of yours"),
    ("blocks", "VARCHAR", "blocks instead of the row's own, `spec at position`"),
    ("shape", "VARCHAR", "input of a block alone, CxTxHxW"),
    ("inputs", "VARCHAR", "inputs of a network of yours"),
    ("classes", "BIGINT", "classes instead of the row's"),
    ("frames", "BIGINT", "frames instead of the row's"),
    ("size", "BIGINT", "height and width instead of the row's, pixels"),
    ("device", "VARCHAR", "torch's name: cpu, cuda, cuda:1"),
    ("device_name", "VARCHAR", "what it is, such as NVIDIA H100 80GB HBM3"),
    ("batch", "BIGINT", "clips to a pass"),
    ("dtype", "VARCHAR", "fp32, tf32, bf16, bf16-autocast or fp16"),
    ("memory_format", "VARCHAR", "contiguous or channels_last_3d"),
    ("mode", "VARCHAR", "eager, cuda-graph or compile"),
    ("phase", "VARCHAR", "inference or training"),
    ("cudnn_benchmark", "BOOLEAN", "whether cuDNN searched for algorithms"),
    ("cold", "BOOLEAN", "whether the device's cache was emptied before every sample"),
    ("threads", "BIGINT", "CPU threads"),
    ("status", "VARCHAR", "ok, or why there are no samples: oom, crashed, timed out, ..."),
    ("error", "VARCHAR", "what went wrong; NULL if nothing did"),
)  # fmt: skip
_LATENCY = _columns(
    ("ci_low_ms", "DOUBLE", "lower end of the median's 95% interval, ms; NULL below six samples"),
    ("ci_high_ms", "DOUBLE", "its upper end, ms"),
    ("half_ci_ms", "DOUBLE", "half of its width, ms"),
    ("iqr_ms", "DOUBLE", "range between the quartiles, ms"),
)
_PROTOCOL = _columns(
    ("precision", "DOUBLE", "half of the interval's width over the median, as reached"),
    ("settled", "BOOLEAN", "whether two windows of the warm-up agreed"),
    ("void_samples", "BIGINT", "samples thrown away, since the device was throttled"),
)
_MACHINE = _columns(
    ("device_uuid", "VARCHAR", "of the GPU"),
    ("driver", "VARCHAR", "of the GPU"),
    ("cuda", "VARCHAR", "version that torch was built with"),
    ("cudnn", "VARCHAR", "version"),
    ("cpu", "VARCHAR", "model"),
    ("cores", "BIGINT", "CPUs that the process might run on"),
    ("machine_memory_bytes", "BIGINT", "memory of the host, bytes"),
    ("host", "VARCHAR", "name of the host, of a cluster's machines"),
    ("node", "VARCHAR", "Ray's id of the node, of a cluster's machines"),
    ("platform", "VARCHAR", "operating system"),
    ("python", "VARCHAR", "version"),
    ("torch", "VARCHAR", "version"),
    ("vidcost", "VARCHAR", "version"),
    ("started", "TIMESTAMP", "when the measurement began, UTC"),
    ("key", "VARCHAR", "names the measurement: cell, code, machine"),
    ("file", "VARCHAR", "file in results/timings"),
)

COUNTS = View(
    "counts",
    "one row of the paper's tables, counted at batch 1",
    _columns(
        ("row", "VARCHAR", "name of the row"),
        ("classes", "BIGINT", "classes of its last layer"),
        ("inputs", "VARCHAR", "CxTxHxW of its clip, of two streams joined by +"),
        ("params", "BIGINT", "parameters, elements"),
        ("buffers", "BIGINT", "buffers, elements"),
        ("macs", "BIGINT", "multiply-accumulates: conv + linear + matmul"),
        ("conv", "BIGINT", "MACs of convolutions"),
        ("linear", "BIGINT", "MACs of linear layers"),
        ("matmul", "BIGINT", "MACs of products of two activations: attention"),
        ("norm", "BIGINT", "elements that are normalised"),
        ("pool", "BIGINT", "elements that are pooled"),
        ("softmax", "BIGINT", "elements of softmax"),
        ("activation", "BIGINT", "elements of activations"),
        ("closed_forms", "BIGINT", "modules whose closed form the count equals"),
        ("fvcore_flops", "BIGINT", "what fvcore prints, in its convention; NULL without answer"),
        ("fvcore_params", "BIGINT", "parameters as fvcore prints them"),
        ("thop_flops", "BIGINT", "what thop prints, in its convention"),
        ("thop_params", "BIGINT", "parameters as thop prints them"),
        ("thop_2020_flops", "BIGINT", "what thop of May 2020 prints, in its convention"),
        ("thop_2020_params", "BIGINT", "parameters as thop of May 2020 prints them"),
        ("torch_flops", "BIGINT", "half of what torch's FlopCounterMode prints: MACs"),
    ),
)
TIMINGS = View(
    "timings",
    "the latest measurement of a cell: a row, a block alone or a network of yours; not what took "
    "turns with another",
    (
        *_CELL,
        *_columns(("median_ms", "DOUBLE", "median latency of a pass or training step, ms")),
        *_LATENCY,
        *_columns(("n", "BIGINT", "samples")),
        *_PROTOCOL,
        *_columns(
            ("forward_ms", "DOUBLE", "median of a training step's forward pass, ms"),
            ("backward_ms", "DOUBLE", "median of its backward pass, ms"),
            ("optimizer_ms", "DOUBLE", "median of its optimizer's step, ms"),
            ("clips_per_s", "DOUBLE", "batch over the median"),
            ("macs", "BIGINT", "MACs of one forward pass at this batch"),
            ("macs_total", "BIGINT", "MACs of all that was timed, a backward pass included"),
            ("macs_per_s", "DOUBLE", "macs_total over the median"),
            ("peak_macs_per_s", "DOUBLE", "the fastest large product of matrices there, MACs/s"),
            ("share_of_matmul", "DOUBLE", "macs_per_s over peak_macs_per_s"),
            ("peak_bytes", "BIGINT", "most memory allocated at once above the weights, bytes"),
            ("predicted_peak_bytes", "BIGINT", "the same as foreseen on shapes alone, bytes"),
            ("weights_bytes", "BIGINT", "memory of the weights, bytes"),
            ("reserved_bytes", "BIGINT", "what the allocator had reserved, bytes"),
            ("nvml_used_bytes", "BIGINT", "the process's memory on the GPU by NVML, bytes"),
            ("rss_peak_bytes", "BIGINT", "most resident memory of the process, bytes"),
            ("energy_j_per_clip", "DOUBLE", "energy of a pass over the batch, J"),
        ),
        *_MACHINE,
    ),
)
SHARES = View(
    "shares",
    "the latest measurement of what blocks add to a network, timed in turns without them",
    (
        *_CELL,
        *_columns(
            ("with_ms", "DOUBLE", "median latency of the network with its blocks, ms"),
            ("without_ms", "DOUBLE", "and without them, ms"),
            ("median_ms", "DOUBLE", "median of the differences of pairs: what blocks add, ms"),
        ),
        *_LATENCY,
        *_columns(("n", "BIGINT", "pairs")),
        *_PROTOCOL,
        *_columns(
            ("share_of_network", "DOUBLE", "median_ms over with_ms"),
            ("macs_total", "BIGINT", "MACs of the network with its blocks, of all that was timed"),
            ("peak_bytes", "BIGINT", "most memory at once above the weights, with blocks, bytes"),
            ("block_bytes", "BIGINT", "how much higher that is than without them, bytes"),
        ),
        *_MACHINE,
    ),
)
SAMPLES = View(
    "samples",
    "one sample of a measurement in timings or shares; join them by key",
    _columns(
        ("key", "VARCHAR", "key of the measurement"),
        ("subject", "VARCHAR", "as in timings"),
        ("part", "VARCHAR", "latency; forward, backward, optimizer; with, without"),
        ("number", "BIGINT", "from 1, in the order in which they were taken"),
        ("ms", "DOUBLE", "ms"),
    ),
)
LEDGER = View(
    "ledger",
    "one amount on the way from our count to what another counter prints for a row",
    _columns(
        ("row", "VARCHAR", "name of the row"),
        ("counter", "VARCHAR", "fvcore, thop, thop-2020 or torch"),
        ("version", "VARCHAR", "version of the counter"),
        ("status", "VARCHAR", "answered, or why not"),
        ("quantity", "VARCHAR", "flops, where ours are MACs, or params"),
        ("kind", "VARCHAR", "ours + terms = printed - remainder: ours, term, printed, remainder"),
        ("what", "VARCHAR", "name of the term, or the kind again"),
        ("amount", "BIGINT", "MACs or FLOPs in the counter's convention, or parameters"),
    ),
)
AUDIT = View(
    "audit",
    "one parameter or FLOPs figure that the paper prints, with its verdict",
    _columns(
        ("paper_table", "BIGINT", "number of the table"),
        ("method", "VARCHAR", "as the paper calls it"),
        ("row", "VARCHAR", "name of the row"),
        ("figure", "VARCHAR", "params or FLOPs"),
        ("printed", "VARCHAR", "as printed, such as 11.176G"),
        ("printed_value", "DOUBLE", "the same as a number: parameters or FLOPs"),
        ("verdict", "VARCHAR", "exact, close or not reproduced"),
        ("ours", "BIGINT", "our parameters, or FLOPs in the convention that comes nearest"),
        ("convention", "VARCHAR", "conventions that give the figure, or the nearest"),
        ("difference", "DOUBLE", "ours over the printed value, less 1; NULL of a bound"),
        ("macs", "BIGINT", "our MACs, where the figure is of FLOPs"),
        ("recipe", "VARCHAR", "a fitted recipe that gives the figure"),
        ("given", "BIGINT", "what the recipe gives"),
        ("given_by", "VARCHAR", "in which convention"),
        ("tried", "BIGINT", "recipes that were there to choose from"),
        ("note", "VARCHAR", "how ours differs"),
    ),
)

VIEWS = (COUNTS, TIMINGS, SHARES, SAMPLES, LEDGER, AUDIT)
MEASURED = (TIMINGS, SHARES, SAMPLES)
"""Those made of results/timings."""

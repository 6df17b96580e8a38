"""Timing records as DuckDB reads them, and the SQL that derives their figures.

The figures are those of :mod:`vidcost.bench.timing.figures`, bit by bit: a million records take
minutes there and seconds here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from vidcost.bench.query.sql import quoted
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Memory, Protocol, Timing
from vidcost.bench.timing.statistics import median_rank

if TYPE_CHECKING:
    import duckdb

PARTS = ("latency", "forward", "backward", "optimizer", "with", "without")
LONGEST_LINE_BYTES = 32 << 20
"""DuckDB reads into buffers of this size: a record of a million samples and more."""

_CELL = {
    **dict.fromkeys(("row", "block", "network", "device", "dtype"), "VARCHAR"),
    **dict.fromkeys(("memory_format", "mode", "phase"), "VARCHAR"),
    **dict.fromkeys(("classes", "frames", "size", "batch", "threads"), "BIGINT"),
    **dict.fromkeys(("share", "cudnn_benchmark", "cold"), "BOOLEAN"),
    "shape": "BIGINT[]",
    "blocks": "VARCHAR[][]",
    "inputs": "VARCHAR[]",
    "against": "JSON",
}
_MACHINE = {
    **dict.fromkeys(("device", "device_uuid", "driver", "cpu", "platform", "python"), "VARCHAR"),
    **dict.fromkeys(("torch", "cuda", "cudnn", "vidcost", "host", "node"), "VARCHAR"),
    **dict.fromkeys(("cores", "memory_bytes"), "BIGINT"),
}
_PROTOCOL = {"settled": "BOOLEAN", "precision": "DOUBLE", "void_samples": "BIGINT"}
_MEMORY = dict.fromkeys(("weights", "peak", "reserved", "rss_peak", "nvml_used"), "BIGINT")


def _struct(fields: dict[str, str]) -> str:
    written = ", ".join(f'"{name}" {kind}' for name, kind in fields.items())
    return f"STRUCT({written})"


_COLUMNS = {
    **dict.fromkeys(("key", "status", "error", "started"), "VARCHAR"),
    **dict.fromkeys(("macs", "macs_total", "predicted_peak_bytes"), "BIGINT"),
    **dict.fromkeys(("peak_macs_per_s", "energy_j"), "DOUBLE"),
    "cell": _struct(_CELL),
    "machine": _struct(_MACHINE),
    "protocol": _struct(_PROTOCOL),
    "samples_s": _struct(dict.fromkeys(PARTS, "DOUBLE[]")),
    "memory": _struct(_MEMORY),
    "memory_without": _struct({"peak": "BIGINT"}),
}
"""What is read of a line; what else stands there is passed over."""


def read(
    con: duckdb.DuckDBPyConnection, path: Path, lines: int, *, of: Path, before: int = 0
) -> str:
    """Read the first ``lines`` lines of ``path``; returns SQL of the latest record of every key.

    Messages name the file ``of``, of which ``before`` lines stand before those of ``path``; without
    any the first line is the file's header. The SQL holds until the next call.
    Raises: ValueError naming file and line if one is damaged.
    """
    refused = _load(con, path, ignore_errors=False)
    if refused:
        _load(con, path, ignore_errors=True)
    # another process may have appended lines while this one read
    nothing = 'key is null or coalesce(cell."row", cell.block, cell.network) is null'
    found, every, damaged = _one(
        con,
        f"select count(*) filter (rowid < {lines}), count(*), min(rowid) filter "
        f"(rowid < {lines} and rowid >= {0 if before else 1} and ({nothing})) from stored.raw",
    )
    if found < lines:
        # DuckDB passes over empty lines
        damaged = _first_empty(path)
    if damaged is not None:
        raise ValueError(
            f"{of}, line {before + damaged + 1} is damaged: mend it or name another file"
        )
    if refused and every == lines:
        # not what follows, which somebody is writing or did not write to its end
        raise ValueError(f"{of} is damaged: {refused}")
    con.execute(
        "create or replace table stored.latest as select max(rowid) as line from stored.raw "
        f"where rowid < {lines} and key is not null group by key"
    )
    numbers = con.execute(f"select distinct n from ({_LATEST}) where n > 0").fetchall()
    con.execute("create or replace table stored.ranks (n BIGINT, k BIGINT)")
    if numbers:
        ranks = ", ".join(f"({n}, {median_rank(n)})" for (n,) in numbers)
        con.execute(f"insert into stored.ranks values {ranks}")
    return _FIGURES.replace("{file}", quoted(of.name))


def none(con: duckdb.DuckDBPyConnection, workspace: Path) -> str:
    """SQL of the figures of no record: their columns alone."""
    path = workspace / "none.jsonl"
    path.write_text("{}\n")
    return read(con, path, 1, of=path)


def samples(figures: str) -> str:
    """SQL of every sample behind ``figures``, a line each."""
    parts = ", ".join(f"{{part: '{part}', list: samples_s['{part}']}}" for part in PARTS)
    return f"""
        select key, subject, part, number, 1e3 * s as ms from (
            select key, subject, each.part as part, unnest(each.list) as s,
                generate_subscripts(each.list, 1) as number
            from (select key, subject, unnest([{parts}]) as each from ({figures}))
        )
    """


def _load(con: duckdb.DuckDBPyConnection, path: Path, *, ignore_errors: bool) -> str:
    """Have all lines in stored.raw, in order; returns why not, or nothing.

    ``ignore_errors``: a line that is none of ours becomes one of NULLs.
    """
    import duckdb

    try:
        con.execute(
            "create or replace table stored.raw as from read_json(?, columns=?, "
            "format='newline_delimited', ignore_errors=?, maximum_object_size=?)",
            [str(path), _COLUMNS, ignore_errors, LONGEST_LINE_BYTES],
        )
    except duckdb.Error as error:
        if ignore_errors:
            raise ValueError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
        return str(error).splitlines()[0]
    return ""


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int, int | None]:
    found = con.execute(sql).fetchone()
    assert found is not None
    return found[0], found[1], found[2]


def _first_empty(path: Path) -> int:
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file) if not line.strip()), 0)


# --- the SQL


def _or_default(model: type[Cell | Timing | Protocol], where: str, field: str) -> str:
    """A field that a record may lack, which then has the model's default."""
    default = model.model_fields[field].default
    written = f"'{default}'" if isinstance(default, str) else str(default)
    return f'coalesce({where}"{field}", {written}) as "{field}"'


def _median(ordered: str) -> str:
    """As statistics.median: of the two in the middle, which are one if their number is odd."""
    return f"(({ordered}[(len({ordered}) + 1) // 2] + {ordered}[len({ordered}) // 2 + 1]) / 2)"


def _quartile(number: int) -> str:
    """As statistics.quantiles(method="inclusive")."""
    at, rest = f"({number} * (n - 1) // 4)", f"({number} * (n - 1) % 4)"
    return f"((s[{at} + 1] * (4 - {rest}) + s[{at} + 2] * {rest}) / 4)"


_DEFAULTED = (
    "device", "batch", "dtype", "memory_format", "mode", "phase", "cudnn_benchmark", "cold",
    "threads", "share",
)  # fmt: skip

_LATEST = """
    select *, nullif(case
        when share then least(len(samples_s['with']), len(samples_s.without))
        else len(samples_s.latency)
    end, 0) as n
    from (select *, coalesce(cell.share, false) as share from stored.raw
          where rowid in (select line from stored.latest))
"""
"""The latest record of every key with the number of its samples or pairs."""

_SORTED = f"""
    select *, list_sort(case
        when share then list_transform(
            range(1, n + 1), lambda i: samples_s['with'][i] - samples_s.without[i])
        else samples_s.latency
    end) as s
    from ({_LATEST}) left join stored.ranks using (n)
"""
"""With what their median is of, sorted: samples, or the differences of pairs."""

_SUMMARISED = f"""
    select *,
        {_median("s")} as median_s,
        case when k > 0 then s[k] end as low_s,
        case when k > 0 then s[n - k + 1] end as high_s,
        case when n > 1 then {_quartile(3)} - {_quartile(1)} when n = 1 then 0.0 end as iqr_s,
        {", ".join(f"{_median(f'list_sort(samples_s[{part!r}])')} as {part}_s" for part in PARTS[1:])}
    from ({_SORTED})
"""  # noqa: E501 - one line a column

_FIGURES = f"""
    select
        case
            when cell.block is not null then cell.block || ' at ' || shape
            else coalesce(cell.network, cell."row") || coalesce(' + ' || blocks, '')
        end as subject,
        cell."row", cell.block, cell.network, blocks, shape, inputs,
        cell.classes, cell.frames, cell.size,
        {", ".join(_or_default(Cell, "cell.", field) for field in _DEFAULTED)},
        machine.device as device_name,
        {_or_default(Timing, "", "status")},
        nullif(error, '') as error,
        1e3 * median_s as median_ms, 1e3 * low_s as ci_low_ms, 1e3 * high_s as ci_high_ms,
        1e3 * ((high_s - low_s) / 2) as half_ci_ms, 1e3 * iqr_s as iqr_ms, n,
        protocol.precision, protocol.settled,
        case when protocol is not null then coalesce(protocol.void_samples, 0) end as void_samples,
        {", ".join(f"1e3 * {part}_s as {part}_ms" for part in PARTS[1:])},
        median_s / nullif(with_s, 0) as share_of_network,
        coalesce(cell.batch, 1) / nullif(median_s, 0) as clips_per_s,
        macs, macs_total,
        nullif(macs_total, 0) / nullif(median_s, 0) as macs_per_s,
        peak_macs_per_s,
        nullif(macs_total, 0) / nullif(median_s, 0) / nullif(peak_macs_per_s, 0)
            as share_of_matmul,
        memory.peak as peak_bytes, predicted_peak_bytes,
        memory.peak - memory_without.peak as block_bytes,
        {", ".join(f"memory.{f} as {f}_bytes" for f in Memory.model_fields if f != "peak")},
        energy_j / coalesce(cell.batch, 1) as energy_j_per_clip,
        {
    ", ".join(
        f"nullif(nullif(machine.{f}, 'not available'), '') as {f}"
        for f in _MACHINE
        if f not in ("device", "memory_bytes", "cores")
    )
},
        machine.cores, machine.memory_bytes as machine_memory_bytes,
        try_cast(nullif(started, '') as TIMESTAMPTZ) at time zone 'UTC' as started,
        cell.against is not null as in_turns,
        key, {{file}} as file, samples_s
    from (select *,
        nullif(array_to_string(cell.shape, 'x'), '') as shape,
        nullif(array_to_string(cell.inputs, ', '), '') as inputs,
        nullif(array_to_string(list_transform(cell.blocks, lambda b: b[2] || ' at ' || b[1]),
                               ' + '), '') as blocks
        from ({_SUMMARISED}))
"""

_STATISTIC = [median_rank(n) for n in (5, 30, 1000)]
LAYOUT = hashlib.sha256(f"{_COLUMNS}{_FIGURES}{_STATISTIC}".encode()).hexdigest()
"""Of the figures: another one where they are other columns or made otherwise."""

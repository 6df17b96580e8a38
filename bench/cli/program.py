"""All commands as one program, and how it ends.

The modules of commands declare them. What takes long to import, as torch does, is imported by the
command that is run: help and a mistyped option do not wait for it.
"""

import codecs
import os
import sys
import traceback
import unicodedata
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any

import typer

from vidcost.atlas import cli  # noqa: F401 - declares its command
from vidcost.bench.cli.compare import compare_app
from vidcost.bench.cli.counts import counts_app
from vidcost.bench.cli.gate import gate_app
from vidcost.bench.cli.output import complain
from vidcost.bench.cli.papers import paper_app
from vidcost.bench.cli.stored import stored_app
from vidcost.bench.cli.timing import timing_app
from vidcost.bench.exit_status import BAD_INPUT, DONE, FAULT, NOBODY_READS, Ending
from vidcost.bench.progress import alive

FIRST = """\
vidcost counts, times and compares the cost of video networks and blocks.

  vidcost count my_net.py:make_model --input 1x3x16x112x112
      exact parameters and MACs, in a fraction of a second
  vidcost explain my_net.py:make_model --input 1x3x16x112x112
      the figures of fvcore, thop and torch, and why they differ
  vidcost time my_net.py:make_model --input 1x3x16x112x112 --budget 20s
      latency and memory, measured in a process of its own
  vidcost compare mfnet --at conv4:before-last --block nl --block my_block.py:MyBlock
      what each block adds to a network
  vidcost gate counts
      fail if any count differs from the committed ones

`vidcost --help` lists all commands, `vidcost COMMAND --help` explains one."""

app = typer.Typer(
    help="Exact MACs, measured latency and regression gates for video networks and blocks.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# help lists the commands in this order
app.add_typer(counts_app)
app.add_typer(timing_app)
app.add_typer(compare_app)
app.add_typer(gate_app, name="gate")
app.add_typer(stored_app)
for command in paper_app.registered_commands:
    command.rich_help_panel = "A paper's rows and printed figures"
app.add_typer(paper_app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vidcost {version('vidcost')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _first(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(FIRST)


MOVED: Mapping[str, str] = {
    "fast": "`vidcost time --blocks all --impl reference,optimized`",
    "history": "`git log -p results/counts.jsonl`",
    "ledger": "`vidcost explain`",
    "show": "`vidcost count ROW --depth 2`",
    "block": "`vidcost count BLOCK --shape CxTxHxW`",
    "conformance": "`python tools/conformance`",
    "export": "`vidcost query SQL --parquet FILE`",
}
"""Removed commands, and what to call instead."""

_UsageError: Any = typer.BadParameter.__base__
"""A command line that cannot be understood; typer exports it only by this subclass."""


def run() -> int:
    """Run the program on the command line; returns the exit status.

    An :class:`Ending` has its own; ValueError and OSError are bad input.
    """
    try:
        if now := MOVED.get("".join(sys.argv[1:2])):
            raise ValueError(f"`vidcost {sys.argv[1]}` is gone: {now} replaces it")
        with alive(" ".join(["vidcost", *sys.argv[1:2]])):
            # what a command returns, or raises in typer.Exit
            return app(standalone_mode=False) or DONE
    except _UsageError as error:
        # without a message the help has been shown
        if message := error.format_message():
            complain(message)
        return BAD_INPUT
    except Ending as error:
        complain(error)
        return error.status
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        complain(error)
        return BAD_INPUT
    except Exception as error:
        # torch's error for a shape with more elements than it can number
        if isinstance(error, RuntimeError | TypeError) and "overflow" in str(error).lower():
            complain(
                "a tensor would have more elements than torch can number: choose smaller sizes"
            )
            return BAD_INPUT
        traceback.print_exc()
        return FAULT


def main() -> None:
    """Run the command line and exit; a user's mistake becomes one line and exit status 2."""
    _print_ascii_where_needed()
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # or the interpreter would try to write the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = NOBODY_READS
    except SystemExit as exit_:
        # typer makes 1 of it, which is something found wrong
        if not isinstance(exit_.__context__, BrokenPipeError):
            raise
        status = NOBODY_READS
    sys.exit(status)


_ASCII = str.maketrans({"–": "-", "—": "-", "±": "+/-", "✓": "=", "×": "x", "→": "->", "µ": "u"})


def _to_ascii(error: UnicodeError) -> tuple[str, int]:
    """Write a character that the stream's encoding lacks as ASCII, at worst a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end].translate(_ASCII)
    letters = (c for c in unicodedata.normalize("NFKD", missing) if not unicodedata.combining(c))
    return "".join(letters).encode("ascii", "replace").decode(), error.end


def _print_ascii_where_needed() -> None:
    """Replace what a stream cannot show; in the locale C, Python writes UTF-8 to any terminal."""
    codecs.register_error("to-ascii", _to_ascii)
    is_c = (os.environ.get("LC_ALL") or os.environ.get("LANG")) in ("C", "POSIX")
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            encoding = "ascii" if is_c and stream.isatty() else None
            reconfigure(encoding=encoding, errors="to-ascii")

"""Ask every counter about single operators and networks whose MACs were worked out by hand.

    python tools/conformance     # with the optional counters that are installed: minutes

Writes conformance.md to the results folder; JSON and CSV hold a line per operator, with a counter's
status where it has no figure. Fails if ours is wrong on one, or a counter could not be asked.
"""

import os
import sys
from pathlib import Path

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import complain, print_tables, report
from vidcost.bench.exit_status import BAD_INPUT

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.report import conformance_tables
from conformance.statements import ask_counters, failures

app = typer.Typer(pretty_exceptions_enable=False)
RESULTS = Path("results")


@app.command(help=__doc__.split("\n", maxsplit=1)[0])
def conformance(
    results: options.Results = RESULTS,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Print the tables as asked, and write them as Markdown."""
    files.check_folder(results)
    statements = ask_counters()
    summary, *operators = conformance_tables(statements)
    head = "<!-- written by: python tools/conformance -->\n\n"
    parts = [f"{head}# Conformance: which counter is right on which operator\n"]
    parts += [table.markdown() for table in (summary, *operators)]
    files.write(results / "conformance.md", "\n".join(parts))
    as_data = as_ in (options.Format.JSON, options.Format.CSV)
    print_tables(operators if as_data else [summary, *operators], as_)
    report(failures(statements))


if __name__ == "__main__":
    # the processes in which counters are asked find these modules, too
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (sys.path[0], os.environ.get("PYTHONPATH")))
    )
    try:
        app()
    except (ValueError, OSError) as error:
        complain(error)
        sys.exit(BAD_INPUT)

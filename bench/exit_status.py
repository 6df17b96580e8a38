"""What every command ends with: the one definition of its exit statuses."""

from collections.abc import Mapping
from typing import ClassVar

DONE = 0
FOUND_WRONG = 1
BAD_INPUT = 2
NOT_JUDGED = 3
FAULT = 70
INTERRUPTED = 130
NOBODY_READS = 141

MEANINGS: Mapping[int, str] = {
    DONE: "done, and nothing is wrong",
    FOUND_WRONG: "a figure is wrong, missing, changed or regressed; standard error says which",
    BAD_INPUT: "the command cannot be carried out as given; one line says what to do",
    NOT_JUDGED: "a gate could not judge, or a budget was too short to time all that was asked for",
    FAULT: "a fault of vidcost itself, with its traceback",
    INTERRUPTED: "interrupted by Ctrl-C",
    NOBODY_READS: "whoever read the output stopped, as `head` does",
}
"""70 is EX_SOFTWARE of BSD's sysexits.h, so that a crash is never taken for a finding; 130 and 141
are 128 and the number of the signal, SIGINT and SIGPIPE, as shells have it."""


class Ending(Exception):
    """Ends a command: its message is what is said, ``status`` the command's exit status."""

    status: ClassVar[int] = FOUND_WRONG

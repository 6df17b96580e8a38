"""Calls in a process of their own, and what may become of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vidcost.bench.isolation.call import Failed, isolated
from vidcost.bench.user.failure import UserCodeError, last_line, of_user_code


def run(code: str, limit_s: float = 60.0) -> None:
    isolated(limit_s, exec, code)


def test_the_result_comes_back():
    assert isolated(60.0, divmod, 17, 5) == (3, 2)
    assert isolated(60.0, sorted, [2, 1, 3], reverse=True) == [3, 2, 1]


def test_what_it_prints_does_not_mix_with_the_answer():
    code = "import os; print('x'); os.write(1, b'y' * 100000)"
    assert isolated(60.0, eval, f"exec({code!r}) or 7") == 7


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("1 / 0", "raised", r"ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "raised", r"sys.exit\(3\)"),
        ("import os; os._exit(3)", "exited", r"exit status 3: no message"),
        ("import os; os.kill(os.getpid(), 9)", "killed", r"killed by SIGKILL, probably out of"),
        ("import os; os.kill(os.getpid(), 11)", "killed", r"killed by SIGSEGV$"),
        ("raise KeyboardInterrupt", "raised", r"KeyboardInterrupt"),
        ("raise MemoryError", "raised", r"MemoryError"),
        ("raise RuntimeError('two\\nlines')", "raised", r"RuntimeError: two lines$"),
    ],
)
def test_whatever_it_does_has_a_status(code, status, message):
    with pytest.raises(Failed, match=message) as failed:
        run(code)
    assert failed.value.status == status


def test_a_call_that_hangs_is_given_up_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import subprocess, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(Failed, match=r"not done within 4 s") as failed:
        run(code, limit_s=4.0)
    assert failed.value.status == "timed out"
    wait_for(lambda: not alive(int(pid.read_text())))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_threads_left_behind_do_not_hold_the_answer():
    started = time.monotonic()
    code = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    run(code)
    assert time.monotonic() - started < 60


def test_a_value_that_is_refused_is_refused_here():
    with pytest.raises(ValueError, match="invalid literal"):
        isolated(60.0, int, "one")


def test_a_users_value_error_is_a_failure():
    with pytest.raises(Failed, match="ValueError: theirs"):
        run(
            "from vidcost.bench.user.failure import of_user_code\n"
            "with of_user_code():\n    raise ValueError('theirs')"
        )


def test_the_child_ends_with_its_parent(tmp_path):
    pid = tmp_path / "pid"
    its_own = (
        f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    calling = f"from vidcost.bench.isolation.call import isolated\nisolated(600, exec, {its_own!r})"
    parent = subprocess.Popen([sys.executable, "-c", calling])
    try:
        wait_for(lambda: pid.exists() and pid.read_text() != "")
        parent.kill()
        parent.wait()
        wait_for(lambda: not alive(int(pid.read_text())))
    finally:
        parent.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_memory_and_interruption_are_no_fault_of_the_code():
    for error in (MemoryError, KeyboardInterrupt):
        with pytest.raises(error), of_user_code():
            raise error


def test_the_line_says_where():
    with (
        pytest.raises(UserCodeError, match=rf"KeyError: 'k' \({__file__}, line \d+\)$"),
        of_user_code(),
    ):
        {}["k"]


def test_a_syntax_error_names_its_file():
    with pytest.raises(SyntaxError) as raised:
        compile("x = = 1", "their.py", "exec")
    assert last_line(raised.value) == "SyntaxError: invalid syntax (their.py, line 1)"

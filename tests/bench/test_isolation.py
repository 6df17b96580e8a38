import contextlib
import os
import threading
import time

import psutil
import pytest

from vidcost.bench.isolation import Failed, Isolated, isolated
from vidcost.bench.user.reference import UserCodeError, last_line, of_user_code

THEIRS = "from vidcost.bench.user.reference import of_user_code"


def test_results_come_back_from_one_process_whatever_is_printed():
    code = "import os; print('x'); os.write(1, b'y' * 100000); os.write(2, b'z' * 100000)"
    with Isolated() as process:
        assert [3, 2, 1] == process.call(60, sorted, [2, 1, 3], reverse=True)
        assert process.call(60, os.getpid) == process.call(60, os.getpid) != os.getpid()
        assert 7 == process.call(60, eval, f"exec({code!r}) or 7")


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("1 / 0", "raised", r"^ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "raised", r"^sys.exit\(3\)"),
        ("import os; os._exit(3)", "exited", r"^exit status 3: no message$"),
        ("import os; os.write(2, b'a\\nb\\n'); os._exit(3)", "exited", r"^exit status 3: b$"),
        ("import os; os.kill(os.getpid(), 9)", "killed", r"^killed by SIGKILL, probably out of"),
        ("import os; os.kill(os.getpid(), 40)", "killed", r"^killed by signal 40$"),
        ("raise RuntimeError('two\\nlines')", "raised", r"^RuntimeError: two lines$"),
        (f"{THEIRS}\nwith of_user_code():\n    int('one')", "raised", r"^ValueError: invalid"),
    ],
)
def test_a_failure_has_a_status_and_costs_one_call(code, status, message):
    with Isolated() as process:
        with pytest.raises(Failed, match=message) as failed:
            process.call(60, exec, code)
        assert status == failed.value.status
        assert 4 == process.call(60, abs, -4)


def test_a_rejected_argument_is_a_value_error():
    with pytest.raises(ValueError, match="invalid literal"):
        isolated(60, int, "one")


def test_a_call_that_hangs_is_killed_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import subprocess, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(Failed, match=r"^not done within 2 s$") as failed:
        isolated(2, exec, code)
    assert "timed out" == failed.value.status
    with contextlib.suppress(psutil.NoSuchProcess):
        child, deadline = psutil.Process(int(pid.read_text())), time.monotonic() + 30
        while child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline


def test_another_thread_ends_a_call():
    process = Isolated()
    process.call(60, abs, 1)
    timer = threading.Timer(0.1, process.close)
    timer.start()
    with pytest.raises(Failed, match="killed by SIGKILL"):
        process.call(60, exec, "import time; time.sleep(600)")
    timer.join()
    with pytest.raises(Failed, match="the process was closed"):
        process.call(60, abs, 1)


def test_threads_left_behind_do_not_hold_the_answer():
    began = time.monotonic()
    isolated(
        60, exec, "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    )
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_memory_and_interruption_are_no_fault_of_the_code(error):
    with pytest.raises(error), of_user_code():
        raise error


def test_the_message_names_the_place():
    with (
        pytest.raises(UserCodeError, match=rf"^KeyError: 'k' \({__file__}, line \d+\)$"),
        of_user_code(),
    ):
        {}["k"]
    with pytest.raises(SyntaxError) as raised:
        compile("x = = 1", "their.py", "exec")
    assert "SyntaxError: invalid syntax (their.py, line 1)" == last_line(raised.value)

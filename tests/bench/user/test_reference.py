import sys

import pytest

from vidcost.bench.user.reference import UserCodeError, digest, is_reference, load


@pytest.fixture
def put(folder):
    """Writes a file of code."""

    def put(name: str, code: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)

    return put


@pytest.mark.parametrize("text", ["nl", "pnl:n=4", "my_net.py", "my_net.py:", "a:1x", "a:b:c"])
def test_text_that_is_no_reference(text):
    assert all(map(is_reference, ["../my-net.py:make", "pkg:name", "pkg.mod:A.b"]))
    assert not is_reference(text)
    with pytest.raises(ValueError, match=r"is no reference such as my_net\.py:make_model"):
        load(text)


def test_a_file_is_run_once_and_imports_from_its_folder(put):
    put("code/helper_beside.py", "FACTOR = 7")
    put("code/net.py", "import helper_beside\nruns = []\nclass A:\n    b = helper_beside.FACTOR\n")
    assert load("code/net.py:A.b") == 7
    load("code/net.py:runs").append(1)
    assert load("./code/net.py:runs") == [1]


def test_nothing_stands_in_for_an_installed_module(put):
    put("their_pkg/__init__.py", "")
    put("their_pkg/nets.py", "width = 13")
    put("json.py", "x = 1")
    assert load("json.py:x") == 1
    assert hasattr(sys.modules["json"], "loads")
    assert load("their_pkg.nets:width") == 13
    assert load("json:loads")("3") == 3


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("none.py:x", "no file none.py: name one by its path"),
        ("net.py:A.missing", "net.py has no 'A.missing'"),
        ("no_such_pkg:x", "no module 'no_such_pkg': install it, or run from the folder"),
        ("their_pkg.missing:x", "no module 'their_pkg.missing'"),
    ],
)
def test_missing_files_modules_and_names(put, reference, message):
    put("net.py", "class A: pass")
    put("their_pkg/__init__.py", "")
    with pytest.raises(ValueError, match=message):
        load(reference)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"^ZeroDivisionError: division by zero \(.*net.py, line 1\)$"),
        ("import sys\nsys.exit('no')", r"^sys.exit\('no'\) \(.*net.py, line 2\)$"),
        ("import no_such_module_x", r"ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("def f(:\n", r"^SyntaxError: invalid syntax \(.*net.py, line 1\)$"),
    ],
)
def test_code_that_fails_is_said_to_be_theirs(put, code, message):
    put("net.py", code)
    for reference in ("net.py:x", "net:x"):
        with pytest.raises(UserCodeError, match=message):
            load(reference)
    # a failure is not remembered: the file may have been mended
    put("net.py", "x = 5")
    assert load("net.py:x") == 5


def test_the_digest_follows_the_code_without_running_it(put):
    put("net.py", "raise SystemExit")
    put("their_pkg/__init__.py", "raise SystemExit")
    put("their_pkg/nets.py", "x = 1")
    file, package = digest("net.py:x"), digest("their_pkg.nets:x")
    assert digest("net.py:other") == file
    put("net.py", "raise SystemExit ")
    put("their_pkg/beside.py", "")
    assert digest("net.py:x") != file
    assert digest("their_pkg.nets:x") != package

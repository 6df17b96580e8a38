"""The page in a browser: one with everything in it, opened from a file."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from vidcost.bench.count import record
from vidcost.bench.report.page import gather, page, sections
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import Store

RESULTS = Path(__file__).resolve().parents[2] / "results"
DRAWN_IN_S = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of the committed counts and timings of two rows."""
    folder = tmp_path_factory.mktemp("results")
    records = record.read(RESULTS)
    record.write(folder, records.values(), command="vidcost run")
    words = dict.fromkeys(("device", "cpu", "platform", "python", "torch", "vidcost"), "Abacus")
    machine = Machine(cores=2, memory_bytes=10**9, **words)
    store = Store(folder / "timings" / "abacus-torch2.jsonl")
    for row, seconds in (("mfnet", 0.5), ("mfnet-nl", 0.7)):
        cell = Cell(row=row)
        store.append(
            Timing(
                key=cell.key(),
                cell=cell,
                machine=machine,
                samples_s={"latency": tuple(seconds * (1 + k / 100) for k in range(9))},
                macs_total=10**10,
                peak_macs_per_s=10**11,
                started="2026-11-25T10:00:00+00:00",
            )
        )
    data = gather(folder)
    out = folder / "report.html"
    out.write_text(page(sections(data), data), "utf-8")
    return out


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Chromium, or Chrome, without a window, as root too, with a profile of its own."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.fail("no chromium: `apt-get install chromium chromium-driver` brings it")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        "--disable-dev-shm-usage"
    ).split():
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(chromium: WebDriver, report: Path) -> WebDriver:
    """The page, drawn, 1280 pixels wide, as if opened for the first time."""
    view(chromium, 1280)
    chromium.get("about:blank")
    # messages of earlier pages
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(report.as_uri())
    drawn(chromium)
    return chromium


def view(browser: WebDriver, width: int, *, theme: str = "light") -> None:
    """Make the window so many pixels wide, under a theme of the system."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {
        "features": [
            {"name": "prefers-color-scheme", "value": theme},
            # a click would miss what is still scrolling
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
    }
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def drawn(browser: WebDriver) -> None:
    """Wait until every plot is drawn."""
    WebDriverWait(browser, DRAWN_IN_S).until(
        lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes"
    )


@pytest.fixture
def set_view():
    return view


@pytest.fixture
def wait_drawn():
    return drawn


@pytest.fixture
def requests():
    """The URLs that a browser asked for since it was last asked."""

    def asked(browser: WebDriver) -> list[str]:
        messages = [
            json.loads(entry["message"])["message"] for entry in browser.get_log("performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    return asked

"""The page in a browser: one with everything in it, opened from a file."""

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from vidcost.bench.report.page import page, sections

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE_S = 30
"""Other tests may use both cores."""


@pytest.fixture(scope="module")
def report(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    out.write_text(page(sections(data), data), "utf-8")
    return out


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
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
def opened(chromium, report):
    """The page, drawn, 1280 pixels wide, as if opened for the first time."""
    view(chromium, 1280)
    chromium.get("about:blank")
    # messages of earlier pages
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(report.as_uri())
    drawn(chromium)
    return chromium


def view(browser, width, *, theme="light"):
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


def drawn(browser):
    """Wait until every plot is drawn."""
    WebDriverWait(browser, PATIENCE_S).until(
        lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes"
    )


def requests(browser):
    """The URLs that a browser asked for since it was last asked."""
    entries = browser.get_log("performance")
    messages = [json.loads(entry["message"])["message"] for entry in entries]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def column(browser, table, number):
    """The shown cells of a column from the top down."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter((row) => !row.hidden).map((row) => row.cells[arguments[1]].innerText.trim())",
        table,
        number,
    )


def heading(browser, table, words):
    buttons = browser.find_elements(By.CSS_SELECTOR, f"#{table} thead button")
    (found,) = [each for each in buttons if each.text.strip() == words]
    return found, [each.text.strip() for each in buttons].index(words)


def until(browser, holds):
    WebDriverWait(browser, PATIENCE_S).until(lambda _: holds())


def choose(browser, plot, name, words):
    figure = browser.find_element(By.ID, f"plot-{plot}")
    Select(figure.find_element(By.NAME, name)).select_by_visible_text(words)
    return figure


def unfold(browser, name):
    browser.execute_script("document.getElementById(arguments[0]).open = true", name)


def texts(figure):
    return [each.get_attribute("textContent") for each in figure.find_elements(By.TAG_NAME, "text")]


def luminance(browser, selector, what):
    """0 for black, 1 for white."""
    color = browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        what,
    )
    red, green, blue = (float(x) for x in color[color.index("(") + 1 : -1].split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_a_heading_sorts_by_raw_values_with_mouse_and_keyboard(opened):
    button, place = heading(opened, "row", "MACs")
    cell = button.find_element(By.XPATH, "..")
    assert "none" == cell.get_attribute("aria-sort")
    button.click()
    assert "ascending" == cell.get_attribute("aria-sort")
    macs = column(opened, "row", place)
    # as text 11.045G would come before 9.384G; missing values are last
    assert ["8.308G", "9.384G", "9.567G", "11.045G"] == macs[:4]
    assert macs[-1].startswith("–")
    button.send_keys(Keys.ENTER)
    assert "descending" == cell.get_attribute("aria-sort")
    assert column(opened, "row", place)[0].startswith("213.492G")
    assert column(opened, "row", place)[-1].startswith("–")


def test_words_filter_and_the_lines_are_counted(opened):
    table = opened.find_element(By.ID, "row")
    search = table.find_element(By.CSS_SELECTOR, "[data-filter]")
    search.send_keys("x5 mfnet")
    assert ["mfnet-pnl-x5"] * 3 == [name[:12] for name in column(opened, "row", 0)]
    assert "3 of 46 lines" == table.find_element(By.CSS_SELECTOR, "[data-count]").text
    search.clear()
    search.send_keys("nothing has this")
    assert [] == column(opened, "row", 0)


def test_a_link_leads_to_its_row_even_where_a_filter_hides_it(opened):
    unfold(opened, "audit")
    opened.find_element(By.CSS_SELECTOR, "#row [data-filter]").send_keys("c3d")
    link = opened.find_element(By.LINK_TEXT, "MFNet-NL [26]")
    # the navigation stands over the top of the page
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    target = opened.find_element(By.CSS_SELECTOR, ":target")
    assert "row-mfnet-nl" == target.get_attribute("id")
    until(opened, target.is_displayed)
    seen = (
        "const box = arguments[0].getBoundingClientRect();"
        "return box.top >= 0 && box.bottom <= innerHeight"
    )
    until(opened, lambda: opened.execute_script(seen, target))
    # a note is folded away
    note = opened.find_element(By.CSS_SELECTOR, "#audit-figures sup a")
    opened.execute_script("arguments[0].click()", note)
    until(opened, opened.find_element(By.CSS_SELECTOR, ":target").is_displayed)


def test_every_plot_is_drawn(opened):
    figures = opened.find_elements(By.CSS_SELECTOR, "[data-plot]")
    assert ["accuracy"] == [x.get_attribute("data-plot") for x in figures]
    for figure in figures:
        shapes = figure.find_elements(By.CSS_SELECTOR, "svg.marks path, svg.marks line")
        assert len(shapes) > 10, figure.get_attribute("data-plot")


def test_the_scatter_changes_its_rows_and_its_cost(opened):
    figure = choose(opened, "accuracy", "axis", "Latency, ms (Abacus)")
    until(opened, lambda: "Latency, ms (Abacus) (log scale)" in texts(figure))
    assert 2 == len(figure.find_elements(By.CSS_SELECTOR, ".points_marks path"))
    choose(opened, "accuracy", "axis", "Parameters, millions")
    until(opened, lambda: "Parameters, millions (log scale)" in texts(figure))
    choose(opened, "accuracy", "set", "Table 6, UCF101")
    until(opened, lambda: "R-50 + PNL(×1)" in texts(figure))
    assert "MFNet-NL" not in texts(figure)


def test_a_point_leads_to_its_row(opened):
    point = opened.find_element(
        By.CSS_SELECTOR, "#plot-accuracy .points_marks path[aria-label*='mfnet-nl']"
    )
    opened.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point
    )
    ActionChains(opened).move_to_element(point).click().perform()
    until(opened, lambda: opened.current_url.endswith("#row-mfnet-nl"))


def test_the_theme_follows_the_system(opened):
    for theme, is_dark in (("light", False), ("dark", True)):
        view(opened, 1280, theme=theme)
        assert is_dark == (luminance(opened, "body", "backgroundColor") < 0.5)
        text = "#plot-accuracy .role-axis-title text"
        assert is_dark == (luminance(opened, text, "fill") > 0.5)


def test_nothing_overflows_on_a_phone(opened):
    view(opened, 360)
    opened.refresh()
    drawn(opened)
    opened.execute_script("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
    assert 360 == opened.execute_script("return document.documentElement.scrollWidth")
    # a table scrolls inside its box; without the box the page would overflow
    opened.execute_script(
        "document.querySelectorAll('.scroll').forEach((x) => { x.style.overflow = 'visible'; })"
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") > 360


def test_no_request_leaves_the_page_and_nothing_complains(opened, report):
    figure = choose(opened, "accuracy", "axis", "Latency, ms (Abacus)")
    until(opened, lambda: "Latency, ms (Abacus) (log scale)" in texts(figure))
    loaded = [url for url in requests(opened) if not url.startswith(("data:", "blob:", "about:"))]
    assert {report.as_uri()} == set(loaded)
    assert [] == opened.get_log("browser")
    # the page's own policy forbids a request, which would be seen
    opened.execute_script("const i = new Image(); i.src = 'https://example.invalid/x.png'")
    (said,) = WebDriverWait(opened, PATIENCE_S).until(lambda b: b.get_log("browser"))
    assert "Content Security Policy" in said["message"]

"""The report in a browser: chosen, compared, sorted; usable by everybody; nothing wider than its window."""

import re
import shutil
import subprocess

import pytest

from jvade import cli

pytestmark = pytest.mark.long
sync_api = pytest.importorskip("playwright.sync_api", reason="needs: pip install 'jvade[browser]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "run"
    only = ["--only", "stability", "profiles", "latents"]
    cli.main(["paper", "--preset", "smoke", "--n-visits", "20000", "--out", str(folder), *only])
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, report):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if "file:" not in request.url else None)
    page.goto(report.as_uri())
    yield page
    assert not problems
    page.close()


def shown(page):
    return page.locator(".panel:visible").evaluate_all("all => all.map(one => one.dataset.cluster)")


def clusters(page):
    return page.locator("#one option").evaluate_all("all => all.map(one => one.value)")


def test_a_cluster_is_chosen_and_two_are_compared(page):
    first, second, *_ = clusters(page)
    assert page.locator(".panel:visible").count() == 1
    page.locator("#other").select_option(second)
    assert shown(page) == [
        first,
        second,
    ]
    boxes = [page.locator(f"#cluster-{name}").bounding_box() for name in (first, second)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.locator("#one").select_option(second)
    page.locator("#other").select_option("")
    assert shown(page) == [second]
    for _ in range(2):  # the second time the address is there already
        page.locator("#one").select_option(second)
        page.locator(f".card a[href='#cluster-{first}']").click()
        assert page.locator("#one").input_value() == first
        assert page.locator(f"#cluster-{first}").is_visible()


def test_two_clusters_are_told_by_the_same_variables(page):
    page.locator("#other").select_option(clusters(page)[1])
    one, two = page.locator(".panel:visible").evaluate_all(
        "all => all.map(panel => [...panel.querySelector('table').tBodies[0].rows]"
        ".map(row => row.cells[0].innerText))"
    )
    assert one == two
    assert len(one) > 5


def test_the_table_sorts_up_down_and_back_with_the_keyboard(page):
    head = page.locator("table.sortable thead th").nth(2)
    cells = "rows => rows.map(row => row.cells[2].dataset.sort)"
    rows = page.locator("table.sortable tbody tr")
    before = rows.evaluate_all(cells)
    head.locator("button").focus()
    orders = []
    for _ in range(3):
        page.keyboard.press("Enter")
        orders.append(
            (head.get_attribute("aria-sort"), page.locator("table.sortable tbody tr").evaluate_all(cells))
        )
    (down, falling), (up, rising), (none, again) = orders
    assert (down, up, none) == ("descending", "ascending", None)
    for values, sign in ((falling, -1), (rising, 1)):
        known = [sign * float(value) for value in values if value]
        assert known == sorted(known)
        assert values[len(known) :] == [""] * (len(values) - len(known))
    assert again == before


def test_variables_sort_by_their_names_in_the_language(page):
    page.locator("button[data-language=zh]").click()
    page.locator("table.sortable thead th").nth(1).locator("button").click()
    names = page.locator("table.sortable tbody tr").evaluate_all(
        "rows => rows.map(row => row.cells[1].dataset.sortZh)"
    )
    falling = page.evaluate("names => [...names].sort((a, b) => b.localeCompare(a))", names)
    assert names == falling


def test_the_language_is_switched(page):
    assert page.get_by_role("heading", name="What was found").is_visible()
    page.locator("button[data-language=zh]").click()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.get_by_role("heading", name="主要发现").is_visible()
    assert not page.get_by_text("What was found").first.is_visible()
    assert page.locator("#other option").first.inner_text() == "无"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_use_it_and_nothing_is_clipped(page, width, language):
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(f"button[data-language={language}]").click()
    page.locator("#other").select_option(clusters(page)[1])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What does not fit scrolls in a region that says what it is; side by side on a desk all fits.
    cut = page.locator("main *:visible").evaluate_all(
        """all => all.filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth
                                    && getComputedStyle(one).display !== "inline" && !one.closest("svg"))
                  .map(one => [one.className, one.getAttribute("role"), one.tabIndex])"""
    )
    assert all(name.startswith("wide") and (role, tab) == ("region", 0) for name, role, tab in cut)
    assert width < 1000 or cut == []
    letters = page.locator("svg:visible text").evaluate_all(
        "all => all.map(one => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a)"
    )
    assert min(letters) > 8.5
    # Words of a picture stay within it.
    clipped = page.locator("svg:visible text").evaluate_all(
        """all => all.filter(one => {
             const box = one.getBBox(), view = one.ownerSVGElement.viewBox.baseVal;
             return box.width && (box.x < -1 || box.x + box.width > view.width + 1
                                  || box.y < -1 || box.y + box.height > view.height + 1);
           }).map(one => one.textContent)"""
    )
    assert clipped == []
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")
def test_paper_has_all_of_it_and_every_page_of_what_is_not_protected_is_marked(browser, report, tmp_path):
    run = report.parents[1]
    cli.main(["report", str(run), "--not-protected"])
    marked = run / "private" / "report-not-protected" / "report.html"
    for one, mark in ((report, False), (marked, True)):
        page = browser.new_page()
        page.goto(one.as_uri())
        page.pdf(path=tmp_path / "report.pdf", format="A4")
        page.close()
        command = ["pdftotext", "-layout", tmp_path / "report.pdf", "-"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        pages = text.rstrip("\f").split("\f")
        assert 8 <= len(pages) <= 20
        assert [("NOT PROTECTED" in words) for words in pages] == [mark] * len(pages)
        # Every cluster, and the table of flows that is folded on the screen.
        for name in re.findall(r'id="panel-(\d+)"', one.read_text()):
            assert re.search(rf"^\s*Cluster {name} ·", text, re.MULTILINE)
        assert re.search(r"From\s+To\s+Visits", text)

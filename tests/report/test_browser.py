"""The report in a browser: chosen, compared, sorted; usable by everybody; nothing wider than its window."""

import shutil

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
    page.locator(f".card a[href='#cluster-{first}']").click()
    assert page.locator("#one").input_value() == first
    assert page.locator(f"#cluster-{first}").is_visible()


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
    assert page.evaluate("document.documentElement.scrollWidth") <= width
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

"""What a person with a browser sees and does."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import expect
from pydantic import SecretStr

pytestmark = pytest.mark.browser

PAGES = {
    "overview": "/",
    "alerts": "/alerts",
    "alert-drift": "/alerts/a1f3c5d7e9drift",
    "alert-ood": "/alerts/c3ood",
    "alert-theft": "/alerts/b2e4theft",
    "alert-quality": "/alerts/f6quality",
    "alert-performance": "/alerts/g7performance",
    "alert-hostile": "/alerts/d4hostile",
    "model": "/models/credit-risk?version=2026.03",
    "model-warming": "/models/fraud-embeddings",
    "model-missing": "/models/nope",
}
SCHEMES_SEEN = """
window.schemesSeen = [];
new MutationObserver(() => window.schemesSeen.push(document.documentElement.dataset.mantineColorScheme)).observe(
  document, {attributes: true, subtree: true, attributeFilter: ["data-mantine-color-scheme"]});
"""


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (800, "light")])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_draws_without_complaint(shared_site, open_page, screenshot, name, width, scheme):
    watched = open_page(width, scheme)
    page = watched.open(shared_site.url + PAGES[name])
    page.wait_for_timeout(300)
    screenshot(page, f"{name}-{width}-{scheme}")
    assert watched.complaints == []
    assert watched.outside == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "scrolls sideways"


def test_hostile_names_are_shown_and_do_not_run(shared_site, open_page, fakes):
    watched = open_page()
    model = f"/models/{quote(fakes.HOSTILE_MODEL, safe='')}?{urlencode({'version': fakes.SCRIPT})}"
    for path in ("/", "/alerts", "/alerts/d4hostile", model, f"/alerts/{quote(fakes.SCRIPT, safe='')}"):
        page = watched.open(shared_site.url + path)
        assert page.evaluate("window.hacked") is None
        assert page.locator("#page a[href^='http'], #page img").count() == 0
    page = watched.open(shared_site.url + "/alerts/d4hostile")
    expect(page.locator("h1")).to_contain_text("<script>window.hacked=1</script>")
    assert watched.complaints == []


def test_an_unknown_address_has_its_own_page_and_status(shared_site, open_page, screenshot):
    watched = open_page()
    answer = watched.page.goto(shared_site.url + "/nope")
    assert answer.status == 404
    expect(watched.page.get_by_role("heading", name="Page not found (404)")).to_be_visible()
    screenshot(watched.page, "lost-1440-light")
    watched.page.locator("#page").get_by_role("link", name="Overview").click()
    expect(watched.page.get_by_role("heading", name="Incidents")).to_be_visible()


def test_filters_are_in_the_address_and_survive_a_reload(shared_site, open_page, settled):
    watched = open_page()
    page = watched.open(shared_site.url + "/alerts")
    page.get_by_label("Search").fill("income")
    page.locator("#alerts-status").get_by_text("All", exact=True).click()
    page.get_by_text("Critical", exact=True).first.click()
    page.wait_for_function(
        "() => location.search.includes('q=income') && location.search.includes('severity=critical')"
    )
    expect(page.locator("#alerts-count")).to_have_text("3 alerts, 1 unresolved")
    page.reload()
    page.wait_for_selector("#page .page")
    settled(page)
    expect(page.locator("#alerts-count")).to_have_text("3 alerts, 1 unresolved")
    expect(page.get_by_label("Search")).to_have_value("income")
    assert watched.complaints == []


def test_going_back_from_an_alert_finds_the_filtered_list(shared_site, open_page, settled):
    watched = open_page()
    page = watched.open(shared_site.url + "/alerts?kind=extraction")
    page.locator(".ag-row a.row-link").first.click()
    page.wait_for_url("**/alerts/b2e4theft")
    expect(page.locator("h1")).to_contain_text("key-7731")
    page.go_back()
    expect(page.locator("#alerts-count")).to_have_text("1 alert, 1 unresolved")


def test_nothing_matches_and_the_way_out(shared_site, open_page, screenshot):
    page = open_page().open(shared_site.url + "/alerts?q=zzz")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    screenshot(page, "nothing-matches-1440-light")
    page.get_by_role("link", name="Clear the filters").click()
    expect(page.locator("#alerts-count")).to_contain_text("31 alerts")


def test_an_alert_is_acknowledged_then_resolved(make_site, open_page, fakes):
    site = make_site(fakes.rich(datetime.now(UTC)))
    watched = open_page()
    page = watched.open(site.url + "/alerts/b2e4theft")
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Your name").fill("Ines Okafor")
    page.get_by_label("Note (optional)").fill("<b>asked</b> the partner")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".byline")).to_contain_text("Acknowledged by Ines Okafor")
    expect(page.locator(".timeline")).to_contain_text("<b>asked</b> the partner")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_label("Your name")).to_have_value("Ines Okafor")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#alert-head .pill-resolved")).to_be_visible()
    assert [act[0] for act in site.queries.acts] == ["acknowledged", "resolved"]
    assert watched.complaints == []


def test_an_alert_is_called_a_false_alarm_and_the_mark_is_taken_back(make_site, open_page, fakes):
    site = make_site(fakes.rich(datetime.now(UTC)))
    watched = open_page()
    page = watched.open(site.url + "/alerts/f6quality")
    page.get_by_role("button", name="False alarm").click()
    dialog = page.get_by_role("dialog", name="Mark 1 alert as a false alarm")
    expect(dialog).to_contain_text("counts against the model's alarm budget")
    page.get_by_label("Your name").fill("Ines Okafor")
    page.get_by_label("Note (optional)").fill("a backfill, <b>as announced</b>")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#alert-head .pill-false-alarm")).to_be_visible()
    expect(page.locator("#alert-head .pill-resolved")).to_be_visible()
    expect(page.locator(".byline")).to_contain_text("Marked a false alarm by Ines Okafor")
    expect(page.locator(".timeline")).to_contain_text("a backfill, <b>as announced</b>")
    for gone in ("False alarm", "Resolve", "Acknowledge"):
        expect(page.get_by_role("button", name=gone, exact=True)).to_be_hidden()
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#alert-head .pill-false-alarm")).to_have_count(0)
    expect(page.get_by_role("button", name="Real", exact=True)).to_be_visible()
    assert [act[0] for act in site.queries.acts] == ["marked_false_alarm", "resolved", "unmarked"]
    assert watched.complaints == []


def test_an_action_without_a_name_is_not_carried_out(make_site, open_page, fakes):
    site = make_site(fakes.rich(datetime.now(UTC)))
    page = open_page().open(site.url + "/alerts/b2e4theft")
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("#action-error")).to_contain_text("Say who you are")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_label("Your name")).to_be_hidden()
    assert site.queries.acts == []


def test_several_alerts_are_acknowledged_from_the_list(make_site, open_page, fakes, screenshot):
    site = make_site(fakes.rich(datetime.now(UTC)))
    watched = open_page()
    page = watched.open(site.url + "/alerts?severity=critical")
    boxes = page.locator(".ag-row .ag-checkbox-input")
    expect(boxes).to_have_count(2)
    for box in boxes.all():
        box.check()
    expect(page.locator("#alerts-toolbar")).to_contain_text("2 alerts selected")
    screenshot(page, "alerts-selected-1440-light")
    page.locator("#alerts-toolbar").get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Your name").fill("Ines")
    screenshot(page, "dialog-1440-light")
    page.get_by_label("Your name").press("Enter")
    expect(page.locator(".ag-row .pill-acknowledged")).to_have_count(2)
    expect(page.locator("#alerts-toolbar")).to_be_hidden()
    assert sorted(act[1] for act in site.queries.acts) == ["a1f3c5d7e9drift", "b2e4theft"]
    assert watched.complaints == []


def test_a_first_visit_tells_how_to_send_an_event(make_site, open_page, fakes, screenshot):
    site = make_site(fakes.empty())
    watched = open_page()
    page = watched.open(site.url + "/")
    expect(page.get_by_role("heading", name="Waiting for the first event")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text(f"curl -X POST {site.url}/api/v1/events")
    screenshot(page, "first-visit-1440-light")
    rich = fakes.rich(datetime.now(UTC))
    site.queries.model_rows, site.queries.alert_rows = rich.model_rows, rich.alert_rows
    expect(page.get_by_role("heading", name="Incidents")).to_be_visible()
    assert watched.complaints == []


def test_an_absent_database_is_named_and_the_page_stays(make_site, open_page, fakes, screenshot):
    site = make_site(fakes.rich(datetime.now(UTC)))
    watched = open_page()
    page = watched.open(site.url + "/")
    site.queries.away = True
    notice = page.locator("#overview-notice")
    expect(notice).to_contain_text("db.internal:5432 does not answer")
    expect(page.locator(".incident").first).to_be_visible()
    screenshot(page, "database-away-1440-light")
    site.queries.away = False
    expect(notice).to_be_empty()
    assert watched.complaints == []


def test_new_alerts_appear_on_their_own_and_in_the_title(make_site, open_page, fakes):
    queries = fakes.rich(datetime.now(UTC))
    rows, queries.alert_rows = queries.alert_rows, []
    site = make_site(queries)
    page = open_page().open(site.url + "/")
    expect(page.get_by_role("heading", name="All good")).to_be_visible()
    expect(page).to_have_title("Overview · Vedette")
    queries.alert_rows = rows
    expect(page.locator(".incident")).to_have_count(7)
    expect(page).to_have_title("(7) Overview · Vedette")


def test_the_theme_is_chosen_and_remembered(shared_site, open_page, settled):
    watched = open_page(scheme="light")
    watched.page.add_init_script(SCHEMES_SEEN)
    page = watched.open(shared_site.url + "/alerts/a1f3c5d7e9drift")
    assert page.evaluate("window.schemesSeen.at(-1)") == "light"
    page.locator("#scheme-choice .scheme-icon-dark").click()
    page.wait_for_function("() => document.documentElement.dataset.mantineColorScheme === 'dark'")
    label = page.locator("#alert-evidence-graph .xtick text").first
    expect(label).to_have_css("fill", "rgb(152, 164, 181)")
    page.reload()
    page.wait_for_selector("#page .page")
    settled(page)
    assert set(page.evaluate("window.schemesSeen")) == {"dark"}, "flashed white"
    assert watched.complaints == []


def test_a_zoomed_chart_stays_zoomed_while_the_page_renews(shared_site, open_page):
    page = open_page().open(shared_site.url + "/models/credit-risk?version=2026.03")
    page.wait_for_selector("#model-volume-graph .bars")
    box = page.locator("#model-volume-graph .nsewdrag").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=8)
    page.mouse.up()
    zoomed = "document.querySelector('#model-volume-graph .js-plotly-plot')._fullLayout.xaxis.range.join()"
    start = f"{shared_site.queries.volume_rows['credit-risk', '2026.03'][0].at:%Y-%m-%d %H:%M}"
    page.wait_for_function(f"() => {zoomed} && !{zoomed}.startsWith('{start}')")
    before = page.evaluate(zoomed)
    renewals = []
    page.on("response", lambda answer: renewals.append(1) if "_dash-update-component" in answer.url else None)
    shared_site.queries.volume_rows["credit-risk", "2026.03"].pop()
    while len(renewals) < 4:
        page.wait_for_timeout(100)
    assert page.evaluate(zoomed) == before


def test_the_time_range_is_in_the_address(shared_site, open_page):
    watched = open_page()
    page = watched.open(shared_site.url + "/models/churn")
    page.wait_for_function("() => new URLSearchParams(location.search).get('version') === '3'")
    whole = page.locator("#model-volume-summary").inner_text()
    page.locator("#model-range").get_by_text("1 h", exact=True).click()
    page.wait_for_function("() => location.search.includes('range=1h')")
    expect(page.locator("#model-volume-summary")).not_to_have_text(whole)
    assert watched.complaints == []


def test_another_version_is_one_choice_away(shared_site, open_page):
    page = open_page().open(shared_site.url + "/models/credit-risk?version=2026.03")
    page.locator("#model-version").click()
    page.get_by_role("option", name="2026.02").click()
    page.wait_for_url("**version=2026.02")
    expect(page.locator(".byline")).to_contain_text("2026.02")
    expect(page.locator("#model-version")).to_have_value("2026.02")


def test_the_keyboard_leads_through(shared_site, open_page, screenshot):
    watched = open_page()
    page = watched.open(shared_site.url + "/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent").startswith("Inputs of credit-risk")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("key-7731")
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("g o?")
    expect(page.get_by_label("Search")).to_have_value("g o?")
    page.get_by_label("Search").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    screenshot(page, "help-1440-light")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Incidents")).to_be_visible()
    assert watched.complaints == []


def test_a_hidden_page_asks_for_nothing(shared_site, open_page):
    page = open_page().open(shared_site.url + "/")
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    page.wait_for_timeout(700)
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "_dash-update" in request.url else None)
    page.wait_for_timeout(1_500)
    assert asked == []


def test_the_token_is_asked_for_once(make_site, open_page, fakes, screenshot):
    site = make_site(fakes.rich(datetime.now(UTC)), token=SecretStr("s3cret-token"))
    watched = open_page()
    page = watched.page
    page.goto(site.url + "/alerts?kind=extraction")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("That is not the token")
    screenshot(page, "login-1440-light")
    page.get_by_label("Access token").fill("s3cret-token")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/alerts?kind=extraction")
    expect(page.locator("#alerts-count")).to_have_text("1 alert, 1 unresolved")
    page.reload()
    expect(page.locator("#alerts-count")).to_have_text("1 alert, 1 unresolved")
    assert [text for text in watched.complaints if "401" not in text] == []


def test_a_server_that_is_away_is_named(make_site, open_page, fakes, screenshot):
    site = make_site(fakes.rich(datetime.now(UTC)))
    page = open_page().open(site.url + "/")
    site.close()
    page.wait_for_function("() => document.body.dataset.answer === 'none'")
    banner = page.evaluate("getComputedStyle(document.body, '::after').content")
    assert "Vedette does not answer" in banner
    expect(page.locator(".incident").first).to_be_visible()
    screenshot(page, "server-away-1440-light")


def test_an_ended_session_leads_to_the_login(make_site, open_page, fakes):
    site = make_site(fakes.rich(datetime.now(UTC)), token=SecretStr("s3cret-token"), session_s=6)
    page = open_page().page
    page.goto(site.url + "/")
    page.get_by_label("Access token").fill("s3cret-token")
    with page.expect_response(lambda answer: "_dash-update-component" in answer.url and answer.ok):
        page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/login\?next="))


def test_a_page_is_not_asked_for_again_while_it_is_answered(make_site, fakes, open_page, monkeypatch):
    queries = fakes.rich(datetime.now(UTC))
    quick = queries.volume

    def slow(*asked):
        time.sleep(1.5)
        return quick(*asked)

    monkeypatch.setattr(queries, "volume", slow)
    watched = open_page()
    pending, overlaps = set(), []

    def asked(request):
        if "model-head" in (request.post_data or ""):
            overlaps.append(len(pending))
            pending.add(request)

    watched.page.on("request", asked)
    watched.page.on("requestfinished", lambda request: pending.discard(request))
    page = watched.open(make_site(queries).url + PAGES["model"])
    expect(page.locator("#model-volume-summary")).not_to_be_empty()
    page.wait_for_timeout(4_000)
    assert len(overlaps) > 1
    assert set(overlaps) == {0}

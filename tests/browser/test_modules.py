"""The pages' modules alone, run where they live."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PARSE = """async ([module, pieces]) => {
  const { readEvents } = await import(module);
  const body = new Response(new ReadableStream({
    start(controller) { for (const piece of pieces) controller.enqueue(new Uint8Array(piece)); controller.close(); },
  })).body;
  const events = [];
  for await (const event of readEvents(body)) events.push(event);
  return events;
}"""
WIRE = (
    ': heartbeat\n\nid: 1-1\r\nevent: text.delta\r\ndata: {"text":"ñ 🏃"}\r\n\r\n'
    "event: text.reset\ndata:a\ndata: b\n\nid: 1-2\rdata: c\r\rdata: cut off"
).encode()
EXPECTED = [
    {"id": "1-1", "type": "text.delta", "data": '{"text":"ñ 🏃"}'},
    {"id": "", "type": "text.reset", "data": "a\nb"},
    {"id": "1-2", "type": "message", "data": "c"},
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_events_are_read_the_same_wherever_the_pieces_break(chat, server, size):
    await chat.open(server)
    pieces = [list(WIRE[start : start + size]) for start in range(0, len(WIRE), size)]
    assert await chat.page.evaluate(PARSE, ["/static/js/sse.js", pieces]) == EXPECTED


@pytest.mark.parametrize(
    ("events", "taken"),
    [
        (["1-1", "1-2", "1-2", "1-1", "1-3"], [True, True, False, False, True]),
        (["1-9", "1-10", "2-1", "1-11"], [True, True, True, False]),
        (["2-7", "reset", "", "2-3", "2-3", "2-4"], [True, True, True, True, False, True]),
    ],
)
async def test_an_event_counts_once_and_a_withdrawal_starts_the_count_anew(chat, server, events, taken):
    await chat.open(server)
    result = await chat.page.evaluate(
        """async (ids) => {
          const { Position } = await import("/static/js/turn.js");
          const position = new Position();
          const reset = { id: "", type: "text.reset" };
          return ids.map((id) => position.advance(id === "reset" ? reset : { id, type: "text.delta" }));
        }""",
        events,
    )
    assert result == taken


async def test_when_to_come_back_is_remembered_and_nonsense_ignored(chat, server):
    await chat.open(server)
    told = await chat.page.evaluate(
        """async (lines) => {
          const { EventGatherer } = await import("/static/js/sse.js");
          const gatherer = new EventGatherer();
          return [gatherer.retryMs, ...lines.map((line) => (gatherer.take(line), gatherer.retryMs))];
        }""",
        ["retry: 1500", "retry: soon", "", "retry: -1", "retry: 20"],
    )
    assert told == [None, 1500, 1500, 1500, 1500, 20]


async def test_the_wait_between_attempts_grows_to_a_bound_and_is_spread(chat, server):
    await chat.open(server)
    ceilings, low = await chat.page.evaluate(
        """async () => {
          const { delayMs } = await import("/static/js/turn.js");
          return [[0, 1, 2, 3, 10, 60].map((failures) => delayMs(failures, 1)), delayMs(60, 0)];
        }"""
    )
    assert ceilings == [250, 500, 1000, 2000, 10_000, 10_000]
    assert low == 0


async def test_a_card_of_progress_says_all_its_facts_in_the_language_of_the_page(chat, server):
    await chat.open(server)
    await chat.page.evaluate(
        """async () => {
          const { artifactCard } = await import("/static/js/artifacts.js");
          const { setLanguage } = await import("/static/js/i18n.js");
          const data = { change_kg: -2.4, count: 8, period: "last_3_months", period_name: "los últimos 3 meses" };
          document.querySelector("#thread").hidden = false;
          const card = artifactCard({ id: "a", kind: "ProgressAnalysis", title: "Peso", data });
          document.querySelector("#thread").append(card);
          setLanguage("en");
        }"""
    )
    facts = chat.page.locator(".artifact .facts")
    assert await facts.locator(":scope > span").all_inner_texts() == ["-2.4 kg", "8 entries", "last 3 months"]
    await chat.page.evaluate("""async () => (await import("/static/js/i18n.js")).setLanguage("es")""")
    assert await facts.locator(":scope > span").all_inner_texts() == ["-2.4 kg", "8 registros", "últimos 3 meses"]


async def test_a_chart_is_an_image_that_cannot_run_script(chat, server):
    await chat.open(server)
    await chat.page.evaluate(
        """async () => {
          const { artifactCard } = await import("/static/js/artifacts.js");
          const script = '<script>document.title = "pwned"</' + 'script>';
          const svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 20" onload="document.title=1">' +
            script + '<path d="M0 0L60 20" stroke="black"/></svg>';
          const data = { metric: "weight", change_kg: -2.4, chart_svg: svg };
          const card = artifactCard({ id: "a", kind: "ProgressAnalysis", title: "Peso", data });
          document.querySelector("#thread").hidden = false;
          document.querySelector("#thread").append(card);
          card.open = true;
        }"""
    )
    image = chat.page.locator(".chart img")
    await chat.page.wait_for_function("() => document.querySelector('.chart img')?.naturalWidth > 0")
    assert (await image.get_attribute("src")).startswith("blob:")
    assert await chat.page.title() == "NGX Agents"
    assert "-2.4" in await chat.page.locator(".artifact-body").inner_text()
    assert chat.faults == []

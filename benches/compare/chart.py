"""The figures as a picture: a panel for each case, a bar for each proxy. SVG 1.1 with nothing outside itself; its
colours follow the reader's light or dark scheme."""

from xml.sax.saxutils import escape

from cases import CASES, IDLE
from figures import medians, ratio

# Case, its title here, and what a bar is.
PANELS = [
    ("fixed rate, 60 %", "Keep-alive, 128 B, fixed rate", "µs"),
    ("JSON log on, fixed rate 60 %", "The same, JSON access log on", "µs"),
    ("1,000 idle and 64 busy", "64 busy beside 1,000 idle", "µs"),
    ("connection per request", "A connection for each request", "µs"),
    ("keep-alive 64 KiB", "64 KiB answers", "µs"),
    ("keep-alive 1 MiB", "1 MiB answers", "µs"),
    ("upload 1 MiB", "1 MiB uploads", "µs"),
    ("WebSocket echo", "WebSocket, each message", "µs"),
    ("TLS full handshake", "TLS 1.3, full handshake", "µs"),
    ("TLS resumed handshake", "TLS 1.3, resumed handshake", "µs"),
    ("TLS keep-alive 128 B", "TLS 1.3, keep-alive, 128 B", "µs"),
    ("HTTP/2 x 32, TLS", "HTTP/2 × 32 streams, TLS", "µs"),
    ("HTTP/2 x 32, h2c", "HTTP/2 × 32 streams, h2c", "µs"),
    (IDLE, "Memory of an idle connection", "KiB"),
]
NAMES = {
    "portolan": "Portolan", "haproxy": "HAProxy", "nginx": "nginx", "envoy": "Envoy", "traefik": "Traefik", "caddy": "Caddy",
}
COLUMNS = 3
PANEL_WIDTH, MARGIN, TOP = 302, 24, 76
BAR, STEP, PANEL_HEAD = 12, 19, 35
LABEL, BAR_MAX = 68, 120
PANEL_HEIGHT = PANEL_HEAD + STEP * len(NAMES) + 18

STYLE = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #3d444d; }
    .title { font-size: 17px; font-weight: 600; fill: #1f2328; }
    .panel { font-weight: 600; fill: #1f2328; }
    .small { font-size: 11px; fill: #59636e; }
    .ours { font-weight: 600; fill: #1f2328; }
    .bar { fill: #afb8c1; }
    .bar-ours { fill: #0b7285; }
    @media (prefers-color-scheme: dark) {
      text { fill: #c3cad2; }
      .title, .panel, .ours { fill: #f0f6fc; }
      .small { fill: #9198a1; }
      .bar { fill: #4b535d; }
      .bar-ours { fill: #3bc9db; }
    }
"""


def svg(results: dict) -> str:
    panels = [panel for panel in PANELS if results["rounds"].get(panel[0])]
    rows = -(-len(panels) // COLUMNS)
    width = MARGIN * 2 + PANEL_WIDTH * COLUMNS
    height = TOP + rows * PANEL_HEIGHT + 40
    drawn = [
        text(MARGIN, 30, "CPU time for each request", "title"),
        text(MARGIN, 50, "Less is better. × is the ratio to Portolan, round by round, in one run on one core each.", "small"),
    ]
    for number, (case, title, unit) in enumerate(panels):
        left = MARGIN + PANEL_WIDTH * (number % COLUMNS)
        top = TOP + PANEL_HEIGHT * (number // COLUMNS)
        drawn += panel_of(results, case, title, unit, left, top)
    drawn.append(text(MARGIN, height - 26, ", ".join(versions(results)), "small"))
    drawn.append(text(MARGIN, height - 10, results["machine"], "small"))
    body = "\n".join(f"  {each}" for each in drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(spoken(results))}">\n  <style>{STYLE}  </style>\n{body}\n</svg>\n'
    )


def panel_of(results: dict, case: str, title: str, unit: str, left: int, top: int) -> list[str]:
    figures = {name: medians(taken)["cost"] for name, taken in results["rounds"][case].items() if name in NAMES}
    most = max(figures.values()) or 1
    drawn = [text(left, top + 14, title, "panel")]
    for line, (name, shown) in enumerate(NAMES.items()):
        y = top + PANEL_HEAD + line * STEP
        ours = name == "portolan"
        drawn.append(text(left, y, shown, "ours" if ours else ""))
        if name not in figures:
            drawn.append(text(left + LABEL, y, "–", "small"))
            continue
        length = max(BAR_MAX * figures[name] / most, 1.5)
        style = "bar-ours" if ours else "bar"
        drawn.append(
            f'<rect class="{style}" x="{left + LABEL}" y="{y - BAR + 2}" width="{length:.1f}" height="{BAR}" rx="2"/>'
        )
        times = ratio(results, case, "cost", name, "portolan")
        beside = f"{number(figures[name])} {unit}" + (f" · {number(times, 2)}×" if times and not ours else "")
        drawn.append(text(left + LABEL + length + 5, y, beside, "ours" if ours else "small"))
    return drawn


def number(value: float, small: int = 1) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{small if value < 10 else 1}f}"


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y}"{f" class={chr(34)}{style}{chr(34)}" if style else ""}>{escape(words)}</text>'


def versions(results: dict) -> list[str]:
    """The peers' names with the first thing that looks like a number of theirs."""
    shown = []
    for name, said in results["programs"].items():
        words = said.replace("/", " ").replace("v", " ").split()
        found = [word for word in words if word[0].isdigit() and word.count(".") == 2]
        shown.append(f"{NAMES.get(name, name)} {found[0]}" if found else NAMES.get(name, name))
    return shown


def spoken(results: dict) -> str:
    """What a reader who doesn't see the picture is told."""
    said = []
    for case in CASES:
        taken = results["rounds"].get(case)
        if taken and "portolan" in taken and "haproxy" in taken:
            said.append(f"{case}: HAProxy takes {ratio(results, case, 'cost', 'haproxy', 'portolan'):.2f} times as much")
    return "CPU time for each request, compared with Portolan. " + "; ".join(said)

"""Draws the comparison as SVG: bars by server, and latency percentiles by connections.

Plain elements and one style sheet, so that the files are read well in a diff and shown by anything. Colours follow the
reader's light or dark mode; a background of their own keeps them legible where the page around does not. What is drawn
is said in words, too, for those who cannot see it.
"""
import math
import statistics
from dataclasses import dataclass
from html import escape

WIDTH, MARGIN = 860, 24
# Where the names of servers end and the plot begins, and where the plot ends and leaves its space to values.
LEFT, RIGHT = 230, 740
BAR, BETWEEN_BARS, BETWEEN_ROWS = 12, 2, 9
ROW = 22
# What is left of the bars' colour for each further number of connections.
FADE = ["1", "0.5", "0.3"]
KINDS = {"hookline": "Hookline", "stored": "others, synced before the 200",
         "memory": "others, not synced before the 200", "floor": "the least that epoll can do"}
PERCENTILES = ["p50", "p99", "p999"]
DURABILITIES = ["received", "stored", "redis", "jetstream"]

STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #24292f }
.page { fill: #ffffff }
.title { font-size: 17px; font-weight: 600 }
.heading { font-size: 13px; font-weight: 600 }
.note, .tick { font-size: 11px; fill: #57606a }
.own { font-weight: 600 }
.grid { stroke: #d8dee4; stroke-width: 1 }
.range { stroke: #24292f; stroke-width: 1.2; fill: none }
.hookline { fill: #d9480f; stroke: #d9480f }
.stored { fill: #1971c2; stroke: #1971c2 }
.memory { fill: #868e96; stroke: #868e96 }
.floor { fill: #ced4da; stroke: #ced4da }
.bar { stroke: none }
.line { stroke-width: 2.5; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117 }
  .note, .tick { fill: #9198a1 }
  .grid { stroke: #2a313a }
  .range { stroke: #e6edf3 }
  .hookline { fill: #ff8c42; stroke: #ff8c42 }
  .stored { fill: #4dabf7; stroke: #4dabf7 }
  .memory { fill: #868e96; stroke: #868e96 }
  .floor { fill: #495057; stroke: #495057 }
  .bar { stroke: none }
  .line { fill: none }
}
"""


def charts(record):
    """The text of each file by its name, as far as there are figures for it."""
    parts = record["parts"]
    drawn = {}
    if part := parts.get("throughput"):
        drawn["throughput.svg"] = bars("Requests answered a second, by one core", part, list(part["results"]),
                                       [Figure("requests/s", "rate", best_first=True)])
        drawn["cpu.svg"] = bars("CPU time that a request costs the server", part, list(part["results"]),
                                [Figure("microseconds of CPU for each request", "cpu", decimals=1)])
        servers = [server for server in DURABILITIES if server in part["results"]]
        drawn["durability.svg"] = bars("What it costs to store before the answer", part, servers, [
            Figure("requests/s", "rate", best_first=True),
            Figure("microseconds of CPU for each request", "cpu", decimals=1),
            Figure("milliseconds until 99 % have their answer", "p99", decimals=2, scale=1e-3),
        ])
    if part := parts.get("latency"):
        drawn["latency.svg"] = latency("Time until the answer, by connections", part)
    return drawn


@dataclass
class Figure:
    """What a panel shows."""
    unit: str
    key: str
    decimals: int = 0
    scale: float = 1
    best_first: bool = False

    def of(self, rounds):
        """The median, the lowest and the highest."""
        values = [figures[self.key] * self.scale for figures in rounds]
        return statistics.median(values), min(values), max(values)

    def text(self, value):
        return f"{value:,.{self.decimals}f}"


class Drawing:
    """Elements from the top down; `y` is where the next one goes."""

    def __init__(self, title, note):
        self.title, self.elements, self.said, self.y = title, [], [], MARGIN + 14
        self.text(MARGIN, self.y, title, "title")
        self.y += 20
        self.text(MARGIN, self.y, note, "note")

    def text(self, x, y, text, style="", anchor="start"):
        self.elements.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">'
                             f'{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, style):
        self.elements.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" class="{style}"/>')

    def rectangle(self, x, y, width, height, style, opacity="1"):
        # What is pale lets no grid through.
        for style, opacity in [("page", "1"), (style, opacity)]:
            self.elements.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
                                 f'height="{height:.1f}" class="{style}" fill-opacity="{opacity}"/>')

    def legend(self, entries):
        """Name, style and opacity of each, in a row."""
        self.y += 22
        x = MARGIN
        for name, style, opacity in entries:
            self.rectangle(x, self.y - 9, 11, 11, f"{style} bar", opacity)
            self.text(x + 16, self.y, name, "note")
            x += 16 + 6.1 * len(name) + 18

    def grid(self, ticks, place, top, bottom, unit):
        for value, name in ticks:
            self.line(place(value), top, place(value), bottom, "grid")
            self.text(place(value), bottom + 15, name, "tick", "middle")
        self.text((LEFT + RIGHT) / 2, bottom + 32, unit, "note", "middle")

    def whole(self):
        height = self.y + MARGIN
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-labelledby="title what">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="what">{escape(". ".join(self.said))}.</desc>',
            f"<style>{STYLE}</style>", f'<rect class="page" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
            *self.elements, "</svg>\n"])


def bars(title, part, servers, figures):
    """A panel for each figure, a row for each server, a bar for each number of connections."""
    drawing = Drawing(title, note(part, "whiskers: lowest and highest round"))
    kinds = [kind for kind in KINDS if any(part["servers"][server]["kind"] == kind for server in servers)]
    numbers = part["connections"]
    drawing.legend([(KINDS[kind], kind, "1") for kind in kinds])
    if len(numbers) > 1:
        drawing.legend([(f"{number} connections", "memory", fade) for number, fade in zip(numbers, FADE)])
    first = figures[0]
    order = sorted(servers, key=lambda server: first.of(part["results"][server][str(numbers[0])])[0],
                   reverse=first.best_first)
    for figure in figures:
        panel(drawing, part, order, figure)
    return drawing.whole()


def panel(drawing, part, servers, figure):
    numbers = part["connections"]
    values = {server: [figure.of(part["results"][server][str(number)]) for number in numbers] for server in servers}
    # Room for the longest bar's value beside it.
    ticks = round_steps(max((high for row in values.values() for _, _, high in row), default=1))
    place = lambda value: LEFT + (RIGHT - LEFT) * value / ticks[-1]
    drawing.y += 16
    top = drawing.y
    row = len(numbers) * (BAR + BETWEEN_BARS) + BETWEEN_ROWS
    bottom = top + len(servers) * row
    drawing.grid([(tick, f"{tick:,.10g}") for tick in ticks], place, top, bottom, figure.unit)
    for index, server in enumerate(servers):
        about = part["servers"][server]
        y = top + BETWEEN_ROWS / 2 + index * row
        name(drawing, about, y + (row - BETWEEN_ROWS) / 2 + 3)
        for number, (value, low, high), fade in zip(numbers, values[server], FADE):
            drawing.rectangle(LEFT, y, place(value) - LEFT, BAR, f"{about['kind']} bar", fade)
            whisker(drawing, place(low), place(high), y + BAR / 2)
            drawing.text(max(place(value), place(high)) + 6, y + BAR - 2, figure.text(value), "tick")
            drawing.said.append(f"{about['label']}, {number} connections: {figure.text(value)} {figure.unit}")
            y += BAR + BETWEEN_BARS
    drawing.y = bottom + 40


def whisker(drawing, low, high, y):
    if high - low >= 1:
        drawing.line(low, y, high, y, "range")
        for x in low, high:
            drawing.line(x, y - 3, x, y + 3, "range")


def latency(title, part):
    """A panel for each number of connections; a server's line goes from its p50 to its p99.9, on one scale for all."""
    drawing = Drawing(title, note(part, "circle p50, diamond p99, line's end p99.9"))
    results, servers = part["results"], list(part["results"])
    kinds = [kind for kind in KINDS if any(part["servers"][server]["kind"] == kind for server in servers)]
    drawing.legend([(KINDS[kind], kind, "1") for kind in kinds])
    median = lambda rounds, key: max(statistics.median(figures[key] for figures in rounds), 1) / 1000
    values = {(server, number): [median(results[server][str(number)], key) for key in PERCENTILES]
              for server in servers for number in part["connections"]}
    ticks = decades(min(map(min, values.values())), max(map(max, values.values())))
    span = math.log(ticks[-1] / ticks[0])
    place = lambda value: LEFT + (RIGHT - 40 - LEFT) * math.log(value / ticks[0]) / span
    for number in part["connections"]:
        drawing.y += 30
        drawing.text(MARGIN, drawing.y, f"{number} connections", "heading")
        drawing.text(WIDTH - MARGIN, drawing.y, "p50 / p99 / p99.9 in ms", "note", "end")
        top = drawing.y + 8
        bottom = top + len(servers) * ROW
        is_last = number == part["connections"][-1]
        drawing.grid([(tick, f"{tick:g}" if is_last else "") for tick in ticks], place, top, bottom,
                     "milliseconds, logarithmic" if is_last else "")
        order = sorted(servers, key=lambda server: values[server, number])
        for index, server in enumerate(order):
            row(drawing, part["servers"][server], number, values[server, number], place, top + (index + 0.5) * ROW)
        drawing.y = bottom
    drawing.y += 40
    return drawing.whole()


def row(drawing, about, number, values, place, y):
    p50, p99, p999 = map(place, values)
    kind = about["kind"]
    name(drawing, about, y + 4)
    drawing.line(p50, y, p999, y, f"{kind} line")
    drawing.line(p999, y - 5, p999, y + 5, f"{kind} line")
    drawing.elements.append(f'<circle cx="{p50:.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>')
    drawing.elements.append(f'<path d="M{p99:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" class="{kind}"/>')
    texts = [f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in values]
    drawing.text(WIDTH - MARGIN, y + 4, " / ".join(texts), "tick", "end")
    drawing.said.append(f"{about['label']}, {number} connections: p50 {texts[0]} ms, p99 {texts[1]} ms, "
                        f"p99.9 {texts[2]} ms")


def name(drawing, about, y):
    drawing.text(LEFT - 10, y, about["label"], "own" if about["kind"] == "hookline" else "", "end")


def note(part, more):
    rounds = f"medians of {part['rounds']} rounds" if part["rounds"] > 1 else "one round"
    return f"{rounds} of {part['seconds']} s, {part['date'][:10]}; {more}"


def round_steps(highest):
    """From 0 to at least that, in four to eight steps that are read easily."""
    decade = 10 ** math.floor(math.log10(max(highest, 1e-9) / 4))
    step = next(decade * part for part in (1, 2, 2.5, 5, 10) if highest / (decade * part) <= 7)
    return [step * index for index in range(math.ceil(highest / step - 1e-9) + 1)]


def decades(lowest, highest):
    """1, 2, 5 and their tens around those two."""
    exponents = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    all_of_them = [part * 10 ** exponent for exponent in exponents for part in (1, 2, 5)]
    first = max(index for index, tick in enumerate(all_of_them) if tick <= lowest)
    last = min(index for index, tick in enumerate(all_of_them) if tick >= highest)
    return all_of_them[first:last + 1]

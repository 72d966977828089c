"""Draws what compare.py has measured: FIGURES.json FOLDER. For each broker two pictures, messages a second against the
time of work and against concurrency, each with our curve, the Parallel Consumer's, and the limit that no consumer can
pass."""

import json
import math
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 78, 170, 40, 52
COLOURS = {"ours": "#0b6e4f", "Parallel Consumer": "#b5482a", "limit": "#888888"}


class Scale:
    """A logarithmic axis; a value of 0 has a place of its own before the first power."""

    def __init__(self, values, start, end):
        positive = [value for value in values if value > 0]
        self.low, self.high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
        self.high = max(self.high, self.low + 1)
        self.zero = 0 in values
        self.start, self.end = start, end

    def at(self, value):
        first = self.low - (0.5 if self.zero else 0)
        power = math.log10(value) if value > 0 else first
        return self.start + (power - first) / (self.high - first) * (self.end - self.start)

    def powers(self):
        return [10**power for power in range(self.low, self.high + 1)]


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>'


def picture(title, below, curves):
    """An SVG of {name: [(x, median, least, most)]}."""
    points = [point for curve in curves.values() for point in curve]
    xs = sorted({point[0] for point in points})
    across = Scale(xs, LEFT, WIDTH - RIGHT)
    up = Scale([value for point in points for value in point[1:]], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', text(LEFT, 22, title, "start", 'font-size="14"'),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, below),
    ]
    for value in up.powers():
        y = up.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{value:,}", "end"))
    for value in xs:
        parts.append(text(across.at(value), HEIGHT - BOTTOM + 18, f"{value:,}"))
    for name, curve in curves.items():
        colour, places = COLOURS[name], [(across.at(x), up.at(y)) for x, y, _, _ in sorted(curve)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashes = ' stroke-dasharray="5 4"' if name == "limit" else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        for x, _, least, most in curve if name != "limit" else ():
            parts.append(f'<line x1="{across.at(x):.1f}" x2="{across.at(x):.1f}" y1="{up.at(least):.1f}" '
                         f'y2="{up.at(most):.1f}" stroke="{colour}" stroke-width="6" stroke-opacity="0.35"/>')
    parts += legend(curves)
    return "\n".join([*parts, "</svg>", ""])


def legend(curves):
    parts = []
    for number, name in enumerate(curves):
        x, y = WIDTH - RIGHT + 14, TOP + 12 + 20 * number
        parts.append(f'<rect x="{x}" y="{y - 9}" width="12" height="8" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 18, y, name, "start"))
    return parts


def curves(results, field):
    """The curves over one field of the results."""
    drawn = {}
    for result in results:
        rates = [one["rate"] for one in result["runs"]]
        point = (result[field], result["medians"]["rate"], min(rates), max(rates))
        drawn.setdefault(result["contestant"], []).append(point)
        if result["limit"]:
            limit = (result[field], *[result["limit"]] * 3)
            drawn.setdefault("limit", []).append(limit)
    return drawn


def main():
    figures, folder = sys.argv[1:]
    results = json.loads(pathlib.Path(figures).read_text())["results"]
    even = [one for one in results if one["contestant"] in COLOURS and one["order"] == "key" and one["keys"] == "even"]
    for broker in dict.fromkeys(one["broker"] for one in even):
        here = [one for one in even if one["broker"] == broker]
        work = curves([one for one in here if one["concurrency"] == 256], "work_ms")
        many = curves([one for one in here if one["work_ms"] == 50], "concurrency")
        name = "embedded" if "embedded" in broker else "kafka"
        for kind, drawn, below in (("work", work, "milliseconds of work with a message, 256 at a time"),
                                   ("concurrency", many, "messages under way at a time, 50 ms of work each")):
            if drawn:
                path = pathlib.Path(folder) / f"queue-{kind}-{name}.svg"
                path.write_text(picture(f"Messages a second, order by key, on {broker}", below, drawn))
                print(path)


if __name__ == "__main__":
    main()

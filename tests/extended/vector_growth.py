#!/usr/bin/env python3
"""How the vector index grows with the number of vectors: a table, and a plot of it.

    tests/extended/vector_growth.py DATA [PLOT.svg]

All vectors are made out of the 100,000 real ones by adding noise.

    RAGSTONE  the program (required)
    ROWS      numbers of vectors (default 100000,300000,1000000)
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import vector_peers

ROWS = [int(rows) for rows in os.environ.get("ROWS", "100000,300000,1000000").split(",")]
FIGURES = {
    "build_s": "build, s",
    "open_ms": "open to first hit, ms",
    "ram_mb": "RAM, MB",
    "exact_ms": "exact search, ms",
    "qps1@0.95": "QPS at recall 0.95",
    "qps1@0.99": "QPS at recall 0.99",
}
WIDTH, HEIGHT, LEFT, LINE = 640, 360, 60, 20


def main(data, plot):
    scripts = data.parent / "peers"
    environment = os.environ | {"PYTHONPATH": str(vector_peers.install(scripts / "requirements-ann.txt", []))}
    measured = {}
    for rows in ROWS:
        with tempfile.TemporaryDirectory(prefix="ragstone-growth-") as folder:
            subprocess.run([sys.executable, scripts / "prepare.py", folder, str(rows)], check=True, env=environment)
            measured[rows] = vector_peers.ours(folder)
    print(f"{'vectors':>12} " + " ".join(f"{title:>22}" for title in FIGURES.values()))
    for rows, figures in measured.items():
        print(f"{rows:>12,} " + " ".join(f"{figures[name]:>22,.1f}" if figures[name] else f"{'-':>22}" for name in FIGURES))
    if plot:
        plot.write_text(svg(measured), encoding="utf-8")
    print(json.dumps(measured))


def svg(measured):
    """Each figure as a multiple of what it is for the fewest vectors, both axes logarithmic."""
    first = measured[min(measured)]
    lines = {name: [(rows, figures[name] / first[name]) for rows, figures in measured.items() if figures[name] and first[name]] for name in FIGURES}
    ratios = [ratio for points in lines.values() for _, ratio in points]

    def x(rows):
        return LEFT + (WIDTH - 2 * LEFT) * share(rows, min(measured), max(measured))

    def y(ratio):
        return HEIGHT - LEFT - (HEIGHT - 2 * LEFT) * share(ratio, min(ratios), max(ratios))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 200} {HEIGHT}" font-family="sans-serif" font-size="12">']
    for rows in measured:
        parts.append(f'<text x="{x(rows):.0f}" y="{HEIGHT - LINE}" text-anchor="middle">{rows:,}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = f"hsl({360 * number // len(lines)} 70% 40%)"
        path = " ".join(f"{x(rows):.1f},{y(ratio):.1f}" for rows, ratio in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = f"{FIGURES[name]}: × {points[-1][1]:.2f}"
        parts.append(f'<text x="{WIDTH - LEFT + 10}" y="{LEFT + LINE * number}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])


def share(value, low, high):
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low) or 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

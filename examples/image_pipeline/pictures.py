"""Grey pictures in plain Python: enough of an image library for a pipeline to have work to do.

A picture is its width, its height and its rows of grey values from 0 to 255. On disk it is a binary
PGM file, which any image viewer shows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

ASCII_SHADES = " .:-=+*#%@"


class CorruptPicture(ValueError):
    """A file that is no picture."""


class Picture(NamedTuple):
    """Rows of grey values."""

    width: int
    height: int
    rows: list[bytes]

    @property
    def mean(self) -> float:
        """How bright it is, from 0 to 255."""
        return sum(sum(row) for row in self.rows) / (self.width * self.height)

    @property
    def checksum(self) -> str:
        """The same for the same picture, on any machine."""
        return hashlib.sha256(b"".join(self.rows)).hexdigest()[:12]


def read(path: str | Path) -> Picture:
    """A picture from its file. Raises ``CorruptPicture``."""
    data = Path(path).read_bytes()
    try:
        kind, size, depth, pixels = data.split(b"\n", 3)
        width, height = map(int, size.split())
    except ValueError:
        raise CorruptPicture(f"{Path(path).name} has no header") from None
    if kind != b"P5" or depth != b"255" or len(pixels) != width * height:
        raise CorruptPicture(f"{Path(path).name} is not a grey picture of {width} by {height}")
    return Picture(width, height, [pixels[y * width : (y + 1) * width] for y in range(height)])


def write(picture: Picture, path: str | Path) -> None:
    """Save a picture; who reads the file sees all of it or none."""
    path = Path(path)
    # A name of its own: another task may be writing the same picture.
    unfinished = path.with_suffix(f".{uuid4().hex}")
    header = f"P5\n{picture.width} {picture.height}\n255\n".encode()
    unfinished.write_bytes(header + b"".join(picture.rows))
    unfinished.replace(path)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """Another size, by the mean of what falls into each new pixel."""
    rows = []
    for y in range(height):
        top, bottom = _span(y, height, picture.height)
        row = bytearray()
        for x in range(width):
            left, right = _span(x, width, picture.width)
            block = [value for line in picture.rows[top:bottom] for value in line[left:right]]
            row.append(sum(block) // len(block))
        rows.append(bytes(row))
    return Picture(width, height, rows)


def _span(position: int, of: int, size: int) -> tuple[int, int]:
    start = position * size // of
    return start, max(start + 1, (position + 1) * size // of)


def normalised(picture: Picture) -> Picture:
    """The darkest value becomes black, and the brightest white."""
    low = min(min(row) for row in picture.rows)
    high = max(max(row) for row in picture.rows)
    spread = max(1, high - low)
    table = bytes(min(255, max(0, (value - low) * 255 // spread)) for value in range(256))
    return picture._replace(rows=[row.translate(table) for row in picture.rows])


def inverted(picture: Picture) -> Picture:
    """Black for white."""
    table = bytes(range(255, -1, -1))
    return picture._replace(rows=[row.translate(table) for row in picture.rows])


def sharpened(picture: Picture) -> Picture:
    """Each pixel further from the mean of its neighbours."""
    rows = []
    for y, row in enumerate(picture.rows):
        above = picture.rows[max(0, y - 1)]
        below = picture.rows[min(picture.height - 1, y + 1)]
        made = bytearray()
        for x, value in enumerate(row):
            left, right = row[max(0, x - 1)], row[min(picture.width - 1, x + 1)]
            around = (above[x] + below[x] + left + right) // 4
            made.append(min(255, max(0, 2 * value - around)))
        rows.append(bytes(made))
    return picture._replace(rows=rows)


def histogram(picture: Picture, bins: int = 8) -> list[int]:
    """How many pixels are how bright."""
    counts = [0] * bins
    for row in picture.rows:
        for value in row:
            counts[value * bins // 256] += 1
    return counts


def side_by_side(pictures: Iterable[Picture], columns: int) -> Picture:
    """Pictures of one size as a sheet, black where there are none left."""
    given = list(pictures)
    width, height = given[0].width, given[0].height
    empty = Picture(width, height, [bytes(width)] * height)
    rows = []
    for first in range(0, len(given), columns):
        line = given[first : first + columns]
        line += [empty] * (columns - len(line))
        rows += [b"".join(picture.rows[y] for picture in line) for y in range(height)]
    return Picture(width * columns, len(rows), rows)


def in_letters(picture: Picture) -> list[str]:
    """What it looks like, for a terminal."""
    top = len(ASCII_SHADES) - 1
    return ["".join(ASCII_SHADES[value * top // 255] for value in row) for row in picture.rows]


def sample(number: int, width: int = 64, height: int = 48) -> Picture:
    """A picture to begin with: waves, rings, stripes or a ramp, by its number."""
    shapes = [
        lambda x, y: math.sin(x / (3 + number)) * math.cos(y / (2 + number)),
        lambda x, y: math.sin(math.hypot(x - width / 2, y - height / 2) / (1 + number / 3)),
        lambda x, y: 1 if (x + y * number) // 8 % 2 else -1,
        lambda x, y: (x * 2 / width - 1) * (y * 2 / height - 1),
    ]
    shape = shapes[number % len(shapes)]
    strength = 40 + 10 * (number % 8)
    rows = [bytes(int(128 + strength * shape(x, y)) for x in range(width)) for y in range(height)]
    return Picture(width, height, rows)

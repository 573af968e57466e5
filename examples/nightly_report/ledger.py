"""The shop whose nights are reported on: its regions, and sales that are the same every time."""

from __future__ import annotations

import csv
import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

DAY = date(2026, 3, 31)
GOODS = {
    "celery": Decimal("1.20"),
    "parsley": Decimal("0.80"),
    "fennel": Decimal("2.45"),
    "dill": Decimal("0.95"),
    "angelica": Decimal("7.10"),
}
CENT = Decimal("0.01")


class Region(NamedTuple):
    """Where there are shops: how far from UTC, what the tax is, in which currency it is paid."""

    name: str
    hours: int
    tax: Decimal
    currency: str

    @property
    def midnight(self) -> datetime:
        """The end of the reported day there."""
        zone = timezone(timedelta(hours=self.hours))
        return datetime.combine(DAY + timedelta(days=1), time(), zone)


REGIONS = [
    Region("lisbon", 0, Decimal("0.23"), "EUR"),
    Region("london", 1, Decimal("0.20"), "GBP"),
    Region("berlin", 2, Decimal("0.19"), "EUR"),
    Region("tokyo", 9, Decimal("0.10"), "JPY"),
    Region("denver", -6, Decimal("0.08"), "USD"),
]
RATES = {
    "EUR": Decimal(1),
    "GBP": Decimal("1.17"),
    "JPY": Decimal("0.0062"),
    "USD": Decimal("0.92"),
}


class Sale(NamedTuple):
    """One line of a shop's till."""

    shop: int
    at: datetime
    item: str
    number: int
    price: Decimal

    @property
    def amount(self) -> Decimal:
        return self.number * self.price


def write_sales(region: Region, folder: Path, lines: int = 200) -> Path:
    """The tills of a region's shops as one CSV file; some lines in it are of no use."""
    dice = random.Random(region.name)
    path = folder / f"{region.name}.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["shop", "at", "item", "number", "price"])
        for number in range(lines):
            item = dice.choice(list(GOODS))
            at = region.midnight - timedelta(seconds=dice.randrange(1, 86400))
            price = (GOODS[item] / RATES[region.currency]).quantize(CENT, ROUND_HALF_UP)
            row = [dice.randrange(1, 6), at.isoformat(), item, dice.randrange(1, 9), price]
            if number % 61 == 60:
                row[3] = "many"  # somebody's handwriting
            out.writerow(row)
    return path


def read_sales(path: str | Path, start: int, stop: int) -> tuple[list[Sale], int]:
    """Sales of some lines of a file, and how many lines were of no use."""
    sales, useless = [], 0
    with Path(path).open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if not start <= number < stop:
                continue
            try:
                sales.append(
                    Sale(
                        int(row["shop"]),
                        datetime.fromisoformat(row["at"]).astimezone(UTC),
                        row["item"],
                        int(row["number"]),
                        Decimal(row["price"]),
                    )
                )
            except ValueError:
                useless += 1
    return sales, useless


def count_lines(path: str | Path) -> int:
    """Lines of a file without its head."""
    with Path(path).open() as file:
        return sum(1 for _ in file) - 1

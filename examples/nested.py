"""A chord whose header is made of chains: each order is priced, taxed and rounded on its own, and
when the last one is through, the sum of all of them is taken.

Start a worker beside it (``umbel -A nested worker``), then ``python nested.py``.
"""

from umbel import Celery, chain, chord

app = Celery("nested")


@app.task
def price(amount: int, cents: int) -> int:
    return amount * cents


@app.task
def add_tax(cents: int, percent: int) -> float:
    return cents * (100 + percent) / 100


@app.task
def rounded(cents: float) -> int:
    return round(cents)


@app.task
def total(orders: list[int]) -> str:
    return f"{len(orders)} orders, {sum(orders) / 100:.2f} in all"


if __name__ == "__main__":
    orders = [(3, 250), (1, 1999), (12, 80), (7, 405)]
    lines = [chain(price.s(*order) | add_tax.s(19) | rounded.s()) for order in orders]
    print(chord(lines)(total.s()).get(timeout=30))

"""The example's warehouse: sales, service and greenhouses of Brindlemoor Systems, which is fictional. The same rows each time."""

import os
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

_TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, region TEXT, industry TEXT, since DATE);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, family TEXT, price REAL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(id), ordered_on DATE, status TEXT);
CREATE TABLE order_items (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders(id),
  product_id INTEGER REFERENCES products(id), quantity INTEGER, revenue REAL);
CREATE TABLE devices (id INTEGER PRIMARY KEY, model TEXT, serial TEXT, built_on DATE);
CREATE TABLE technicians (id INTEGER PRIMARY KEY, name TEXT, team TEXT);
CREATE TABLE tickets (id INTEGER PRIMARY KEY, device_id INTEGER REFERENCES devices(id),
  technician_id INTEGER REFERENCES technicians(id), opened_on DATE, topic TEXT, priority TEXT, hours REAL);
CREATE TABLE sites (id INTEGER PRIMARY KEY, name TEXT, country TEXT, area INTEGER);
CREATE TABLE sensors (id INTEGER PRIMARY KEY, site_id INTEGER REFERENCES sites(id), kind TEXT, installed_on DATE);
CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor_id INTEGER REFERENCES sensors(id), measured_on DATE, value REAL);
CREATE TABLE salaries (id INTEGER PRIMARY KEY, technician_id INTEGER REFERENCES technicians(id), yearly INTEGER);
"""
AREAS = {
    "sales": ("customers", "products", "orders", "order_items"),
    "service": ("devices", "technicians", "tickets"),
    "greenhouses": ("sites", "sensors", "readings"),
}
"""The three parts of it, each with its tables; `salaries` is restricted."""
_PRODUCTS = (
    ("Fernwright 200", "Fernwright", 890.0),
    ("Fernwright 400", "Fernwright", 1490.0),
    ("Dewpoint Pro", "Dewpoint", 340.0),
    ("Dewpoint Mini", "Dewpoint", 129.0),
    ("Mistral Pump", "Pumps", 410.0),
    ("Lumen Panel", "Lights", 260.0),
)
_FIRST, _SECOND = (
    ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Hazel", "Juniper"),
    ("Farm", "Nursery", "Gardens", "Lab"),
)
_PEOPLE = ("Ada Holm", "Bram Vos", "Cleo Marsh", "Dov Lind", "Edda Krol", "Finn Ode", "Gwen Tarr", "Hugo Bell")


def make_example(path: Path) -> Path:
    """Write the file, unless it is there. Whoever else makes it at the same time makes the same."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as connection, connection:
        connection.executescript(_TABLES)
        for table, rows in _rows(random.Random(20291127)).items():  # noqa: S311 - the same rows each time
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    partial.replace(path)
    return path


def _rows(rng: random.Random) -> Mapping[str, Sequence[tuple[object, ...]]]:
    names = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    regions, industries = ("North", "South", "East", "West"), ("vegetables", "flowers", "research", "trees")
    customers = [
        (i, name, rng.choice(regions), rng.choice(industries), _day(rng, 2020, 2027)) for i, name in enumerate(names, 1)
    ]
    products = [(i, *each) for i, each in enumerate(_PRODUCTS, 1)]
    orders = [
        (i, rng.randint(1, len(names)), _day(rng, 2028, 2029), rng.choice(("shipped", "shipped", "open", "cancelled")))
        for i in range(1, 601)
    ]
    items = []
    for i in range(1, 1201):
        product, quantity = rng.choice(products), rng.randint(1, 9)
        items.append((i, rng.randint(1, 600), product[0], quantity, round(float(product[3]) * quantity, 2)))
    devices = [
        (i, rng.choice(_PRODUCTS)[0], f"BS-{rng.randint(10000, 99999)}", _day(rng, 2026, 2029)) for i in range(1, 121)
    ]
    technicians = [(i, name, ("repair", "field")[i % 2]) for i, name in enumerate(_PEOPLE, 1)]
    topics, priorities = ("leak", "firmware", "display", "calibration", "noise"), ("low", "normal", "high")
    tickets = [
        (
            i,
            rng.randint(1, 120),
            rng.randint(1, len(_PEOPLE)),
            _day(rng, 2028, 2029),
            rng.choice(topics),
            rng.choice(priorities),
            round(rng.uniform(0.5, 9), 1),
        )
        for i in range(1, 401)
    ]
    sites = [
        (i, name, country, rng.randint(200, 4000))
        for i, (name, country) in enumerate(
            (("Norrby", "Sweden"), ("Veldhoek", "Netherlands"), ("Altmoor", "Germany"), ("Campoverde", "Spain")), 1
        )
    ]
    sensors = [
        (i, rng.randint(1, 4), rng.choice(("temperature", "humidity", "light")), _day(rng, 2027, 2028))
        for i in range(1, 25)
    ]
    readings = [(i, sensor, day, round(rng.uniform(5, 95), 1)) for i, (sensor, day) in enumerate(_each_fortnight(), 1)]
    salaries = [(i, i, rng.randrange(38_000, 72_000, 500)) for i in range(1, len(_PEOPLE) + 1)]
    return {
        "customers": customers,
        "products": products,
        "orders": orders,
        "order_items": items,
        "devices": devices,
        "technicians": technicians,
        "tickets": tickets,
        "sites": sites,
        "sensors": sensors,
        "readings": readings,
        "salaries": salaries,
    }


def _day(rng: random.Random, first: int, last: int) -> str:
    start = date(first, 1, 1)
    return (start + timedelta(days=rng.randrange((date(last + 1, 1, 1) - start).days))).isoformat()


def _each_fortnight() -> Iterator[tuple[int, str]]:
    for sensor in range(1, 25):
        for step in range(52):
            yield sensor, (date(2028, 1, 3) + timedelta(days=14 * step)).isoformat()

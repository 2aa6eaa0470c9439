"""Things that people write in several ways, made at random: each kind gives all spellings of one thing."""

from collections.abc import Callable
from datetime import date
from random import Random

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_ENGLISH = "January February March April May June July August September October November December".split()  # noqa: SIM905
_GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905
_CHINESE = (
    ("退貨流程", "退货流程"), ("保證期間", "保证期间"), ("發票號碼", "发票号码"), ("電動閥門", "电动阀门"),
    ("維護說明", "维护说明"),
    ("車輛檢查", "车辆检查"), ("倉庫鑰匙", "仓库钥匙"), ("醫療費用", "医疗费用"), ("顯示屏幕", "显示屏幕"),
    ("聯絡經理", "联络经理"),
)  # fmt: skip
_NAMES = (
    ("Größl", "Groessl"), ("Müller", "Mueller"), ("Jäger", "Jaeger"), ("Kühnöl", "Kuehnoel"), ("Weiß", "Weiss"),
    ("Fußmann", "Fussmann"),
    ("García", "Garcia"), ("Dvořák", "Dvorak"), ("Łukasz", "Lukasz"), ("Sørensen", "Sorensen"),
    ("Peña", "Pena"), ("Bérénice", "Berenice"),
)  # fmt: skip


def letters(chance: Random, count: int) -> str:
    return "".join(chance.choices(LETTERS, k=count))


def number(chance: Random, digits: int) -> str:
    return str(chance.randrange(10 ** (digits - 1), 10**digits))


def part_number(chance: Random) -> tuple[str, ...]:
    parts = (letters(chance, 2), number(chance, 4), number(chance, 2), letters(chance, 1))
    a, b, c, d = parts
    return (f"{a}{b}.{c}{d}", f"{a}-{b}-{c}-{d}", f"{a} {b} {c} {d}", f"{a}{b}{c}{d}", f"{a}{b}/{c}{d}".lower())


def norm(chance: Random) -> tuple[str, ...]:
    name, digits = chance.choice(("DIN", "ISO", "EN", "VDE", "ASTM")), number(chance, chance.randint(3, 5))
    return (f"{name} {digits}", f"{name}{digits}", f"{name}-{digits}")


def long_number(chance: Random) -> tuple[str, ...]:
    digits = number(chance, chance.randint(5, 9))
    grouped = f"{int(digits):,}"
    return (digits, *(grouped.replace(",", mark) for mark in (",", ".", " ", "'", "\u202f", "\u2019")))


def amount(chance: Random) -> tuple[str, ...]:
    whole, cents = number(chance, chance.randint(5, 7)), number(chance, 2)
    grouped = f"{int(whole):,}"
    german = grouped.replace(",", ".")
    return (f"{grouped}.{cents}", f"{german},{cents}", f"{whole}.{cents}", f"{whole},{cents}")


def iban(chance: Random) -> tuple[str, ...]:
    plain = f"DE{number(chance, 20)}"
    return (plain, " ".join(plain[at : at + 4] for at in range(0, len(plain), 4)))


def day(chance: Random) -> tuple[str, ...]:
    it = date.fromordinal(chance.randint(date(1950, 1, 1).toordinal(), date(2049, 12, 31).toordinal()))
    english, german = _ENGLISH[it.month - 1], _GERMAN[it.month - 1]
    return (
        it.isoformat(), f"{it:%d.%m.%Y}", f"{it.day}.{it.month}.{it.year}", f"{it.day} {english} {it.year}",
        f"{english} {it.day}, {it.year}",
        f"{it.day}. {german} {it.year}", f"{it:%d/%m/%Y}", f"{it:%m/%d/%Y}", f"{it:%Y/%m/%d}",
        f"{it.day} {english[:3]} {it.year}",
        f"{it.year}年{it.month}月{it.day}日", f"{it:%Y%m%d}", f"{english} {it.day}{_ordinal(it.day)} {it.year}",
    )  # fmt: skip


def _ordinal(day_of_month: int) -> str:
    return "th" if 10 < day_of_month < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day_of_month % 10, "th")


def hexadecimal(chance: Random) -> tuple[str, ...]:
    digits = f"{chance.randrange(0xA0000, 0xFFFFF):X}"
    return (f"0x{digits}", digits, digits.lower(), f"0x000{digits.lower()}")


def chinese(chance: Random) -> tuple[str, ...]:
    return chance.choice(_CHINESE)


def name(chance: Random) -> tuple[str, ...]:
    return chance.choice(_NAMES)


def emoji(chance: Random) -> tuple[str, ...]:
    sign = chr(chance.randrange(0x1F600, 0x1F640))
    return (sign, f"{sign}\ufe0f")


KINDS: tuple[Callable[[Random], tuple[str, ...]], ...] = (
    part_number, norm, long_number, amount, iban, day, hexadecimal, chinese, name, emoji,
)  # fmt: skip

"""Personal data and keys that are nobody's, made by the rules of their kind and not by the room."""

import random
import string
from collections.abc import Callable

LETTERS, DIGITS = string.ascii_letters, string.digits
PREFIXES = ("4", "51", "55", "2221", "34", "37", "6011", "65")


def some(rng: random.Random, letters: str, count: int) -> str:
    return "".join(rng.choices(letters, k=count))


def email(rng: random.Random) -> str:
    name = some(rng, LETTERS + DIGITS, rng.randint(1, 9)) + rng.choice(["", ".x", "+news", "_1"])
    return f"{name}@{some(rng, string.ascii_lowercase, 6)}.{rng.choice(['com', 'co.uk', 'org'])}"


def phone(rng: random.Random) -> str:
    area, middle = rng.choice(["212", "415", "312", "617"]), rng.randint(200, 999)
    last = f"{rng.randint(0, 9999):04d}"
    if middle == 555 or middle % 100 == 11:
        middle = 234
    forms = ["({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "{}.{}.{}", "+1{}{}{}"]
    abroad = f"+44 20 7{rng.randint(100, 999)} {rng.randint(1000, 9999)}"
    return rng.choice([*(form.format(area, middle, last) for form in forms), abroad])


def iban(rng: random.Random) -> str:
    """Check digits: 98 - (account country 00) mod 97, letters as numbers from 10 (ISO 13616)."""
    country = rng.choice(["DE", "GB", "NL", "CH"])
    account = {
        "DE": lambda: some(rng, DIGITS, 18),
        "GB": lambda: some(rng, string.ascii_uppercase, 4) + some(rng, DIGITS, 14),
        "NL": lambda: some(rng, string.ascii_uppercase, 4) + some(rng, DIGITS, 10),
        "CH": lambda: some(rng, DIGITS, 17),
    }[country]()
    number = int("".join(str(int(char, 36)) for char in f"{account}{country}00"))
    whole = f"{country}{98 - number % 97:02d}{account}"
    spaced = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return rng.choice([whole, spaced])


def card(rng: random.Random) -> str:
    prefix = rng.choice(PREFIXES)
    length = 15 if prefix in ("34", "37") else 16
    digits = prefix + some(rng, DIGITS, length - 1 - len(prefix))
    doubled = [int(d) * (2 - at % 2) for at, d in enumerate(reversed(digits))]
    total = sum(one - 9 if one > 9 else one for one in doubled)
    whole = digits + str(-total % 10)
    grouped = rng.choice([" ", "-"]).join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return rng.choice([whole, grouped])


def ssn(rng: random.Random) -> str:
    area = rng.choice([n for n in range(1, 900) if n not in (78, 219, 666)])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def ip(rng: random.Random) -> str:
    four = ".".join(str(rng.randint(1, 254)) for _ in range(4)).replace("127.", "128.")
    six = ":".join(f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(8))
    return rng.choice([four, six, f"2001:db8::{rng.randint(1, 0xFFFF):x}"])


def api_key(rng: random.Random) -> str:
    body = LETTERS + DIGITS
    return rng.choice(
        [
            "sk-" + some(rng, body, 48),
            "sk-ant-api03-" + some(rng, body + "-_", 80),
            "AKIA" + some(rng, string.ascii_uppercase + DIGITS, 16),
            "ghp_" + some(rng, body, 36),
            "glpat-" + some(rng, body, 20),
            "xoxb-" + some(rng, DIGITS, 12) + "-" + some(rng, body, 24),
            "AIza" + some(rng, body, 35),
            "sk_live_" + some(rng, body, 24),
            "hf_" + some(rng, body, 34),
            f"eyJ{some(rng, body, 30)}.eyJ{some(rng, body, 60)}.{some(rng, body, 43)}",
        ]
    )


def private_key(rng: random.Random) -> str:
    sort = rng.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    lines = "\n".join(some(rng, LETTERS + DIGITS + "+/", 64) for _ in range(3))
    return f"-----BEGIN {sort}PRIVATE KEY-----\n{lines}\n-----END {sort}PRIVATE KEY-----"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "PRIVATE_KEY": private_key,
    "API_KEY": api_key,
    "EMAIL": email,
    "IBAN": iban,
    "CARD": card,
    "SSN": ssn,
    "IP": ip,
    "PHONE": phone,
}


def harmless(rng: random.Random) -> str:
    """Numbers as they stand in ordinary text."""
    return rng.choice(
        [
            f"{rng.randint(1, 28)}/{rng.randint(1, 12)}/{rng.randint(1900, 2030)}",
            f"20{rng.randint(10, 30)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
            f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}",
            f"${rng.randint(1, 999)},{rng.randint(100, 999)}.{rng.randint(10, 99)}",
            f"v{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 30)}",
            f"order {rng.randint(1000, 999_999)}",
            f"{rng.random() * 1000:.4f}",
            f"@{some(rng, string.ascii_lowercase, 8)}",
            f"std::{some(rng, string.ascii_lowercase, 5)}",
            f"{rng.randint(1, 99)} + {rng.randint(1, 99)} = {rng.randint(1, 198)}",
        ]
    )

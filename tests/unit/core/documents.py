"""Documents as Python writes them, one a line, for test_json_python.c and test_msgpack.c.

documents.py documents|doubles|typed|msgpack. A line of "typed" is the object that kombu 5.3 writes, a
tab, and what the installed kombu 5.2 writes for the same value; a line of "msgpack" is the bytes in
hexadecimal digits, a tab, and the same as JSON.
"""
import base64
import datetime
import decimal
import json
import math
import random
import struct
import sys
import uuid

random.seed(20)


def text():
    alphabets = ["abc xyz", '"\\/\b\f\n\r\t\x00\x1f\x7f', "äßé€", "\ud7ff\ue000\uffff",
                 "😀𝄞\U0010ffff"]
    return "".join(random.choice(random.choice(alphabets)) for _ in range(random.randrange(12)))


def number():
    kind = random.randrange(6)
    if kind == 0:
        return random.randrange(-100, 100)
    if kind == 1:
        return random.choice([1, -1]) * (2 ** random.randrange(55, 70) + random.randrange(-2, 3))
    if kind == 2:
        return random.randrange(10 ** random.randrange(1, 1200))
    if kind == 3:
        return random.choice([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e16, 1e-5, 123456789.125])
    return random.uniform(-1, 1) * 10.0 ** random.randrange(-320, 308)


def value(depth):
    kind = random.randrange(8)
    if depth > 0 and kind < 2:
        return [value(depth - 1) for _ in range(random.randrange(6))]
    if depth > 0 and kind < 4:
        return {text(): value(depth - 1) for _ in range(random.randrange(20))}
    return random.choice([None, True, False, number(), number(), text()])


def doubles():
    for exponent in range(-1074, 1024):
        power = math.ldexp(1.0, exponent)
        yield power
        yield math.nextafter(power, 0)
        yield math.nextafter(power, math.inf)
    for exponent in range(-323, 309):
        yield float("1e%d" % exponent)
        yield float("9.999999999999999e%d" % exponent) if exponent < 308 else 1.0
        yield float("1.7976931348623157e%d" % exponent)
    for _ in range(20000):
        number = struct.unpack("<d", struct.pack("<Q", random.getrandbits(64)))[0]
        if math.isfinite(number):
            yield number
    for _ in range(20000):
        yield round(random.uniform(-1e6, 1e6), random.randrange(6))
    for _ in range(5000):
        yield struct.unpack("<d", struct.pack("<Q", random.getrandbits(random.randrange(1, 53))))[0]
    for _ in range(5000):
        yield float(random.getrandbits(random.randrange(1, 80)))


def typed():
    utc = datetime.timezone.utc
    east = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    odd = datetime.timezone(-datetime.timedelta(seconds=3208))
    for zone in (None, utc, east, odd):
        yield "datetime", datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, zone)
        yield "datetime", datetime.datetime(1, 1, 1, tzinfo=zone)
        yield "datetime", datetime.datetime(9999, 12, 31, 23, 59, 59, 10, zone)
        yield "time", datetime.time(1, 2, 3, tzinfo=zone)
        yield "time", datetime.time(23, 59, 59, 999999, zone)
    yield "date", datetime.date(2024, 2, 29)
    for digits in ("1.10", "-0", "0E-8", "1E+30", "NaN", "sNaN", "-Infinity", "%d.5" % 2 ** 70):
        yield "decimal", decimal.Decimal(digits)
    for number in (0, 5, 2 ** 128 - 1):
        yield "uuid", uuid.UUID(int=number)
    for data in (b"", b"abc", "grün\n".encode(), b"\xff\x00", bytes(range(256))):
        yield "bytes", data


def print_typed():
    import kombu.utils.json

    for name, item in typed():
        plain = ""
        if name == "bytes":
            try:
                inner = item.decode()
            except UnicodeDecodeError:
                name, inner = "base64", base64.b64encode(item).decode()
        else:
            plain = kombu.utils.json.dumps([item])
            inner = {"uuid": lambda: {"hex": item.hex}, "decimal": lambda: str(item)}.get(
                name, lambda: item.isoformat())()
        print(json.dumps([{"__type__": name, "__value__": inner}]), plain, sep="\t")


def short_integers(item):
    """The document without integers that msgpack cannot hold."""
    if isinstance(item, list):
        return [short_integers(each) for each in item]
    if isinstance(item, dict):
        return {key: short_integers(each) for key, each in item.items()}
    if type(item) is int and not -2 ** 63 <= item < 2 ** 64:
        return item % 2 ** 64
    return item


def print_msgpack():
    import msgpack

    edges = [s * 2 ** n + d for n in range(0, 65) for s in (1, -1) for d in (-1, 0, 1)]
    sizes = [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536]
    items = [n for n in edges if -2 ** 63 <= n < 2 ** 64]
    items += ["x" * n for n in sizes] + [[None] * n for n in sizes]
    items += [{"%d" % i: i for i in range(n)} for n in sizes]
    items += [short_integers(value(4)) for _ in range(400)]
    for item in items:
        print(msgpack.packb(item).hex(), json.dumps(item), sep="\t")


if sys.argv[1] == "documents":
    for _ in range(600):
        print(json.dumps(value(4)))
elif sys.argv[1] == "doubles":
    for number in doubles():
        print(json.dumps([number]))
elif sys.argv[1] == "msgpack":
    print_msgpack()
else:
    print_typed()

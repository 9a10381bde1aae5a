"""Two commands for scripts/import-real, by hand and without a protobuf library.

    import_check.py body           writes a push body with all types, native histograms and exemplars
    import_check.py compare A B    compares two scrapes in delimited protobuf, series by series
"""

import struct
import sys

from protobuf_wire import data, double, number, varint, varint_at, zigzag


def label(name, value):
    return data(1, name.encode()) + data(2, value.encode())


def exemplar(value):
    stamp = number(1, 1_700_000_000) + number(2, 5_000_000)
    return data(1, label("trace_id", f"t{value}")) + double(2, value) + data(3, stamp)


def body():
    series = data(1, label("path", 'a"b\\c\nd é'))
    bucket = lambda count, bound: number(1, count) + double(2, bound) + data(3, exemplar(bound / 2))
    quantile = data(3, double(1, 0.5) + double(2, 2.5))
    classic = number(1, 6) + double(2, 9.5) + data(3, bucket(2, 1)) + data(3, bucket(5, 4))
    spans = data(12, number(1, zigzag(1)) + number(2, 2)) + data(12, number(1, zigzag(3)) + number(2, 1))
    native = (number(1, 9) + double(2, 20) + number(5, zigzag(2)) + double(6, 0.001) + number(7, 1) + spans
              + data(13, b"".join(varint(zigzag(delta)) for delta in (4, -1, -2))) + data(16, exemplar(3)))
    floats = (double(4, 4.5) + double(2, 7) + number(5, zigzag(0)) + double(6, 0.001) + double(8, 0.5)
              + data(9, number(1, zigzag(-1)) + number(2, 1)) + data(11, struct.pack("<d", 1.5))
              + data(12, number(1, zigzag(0)) + number(2, 1)) + data(14, struct.pack("<d", 2.5)))
    families = [
        ("all_counter", 0, data(3, double(1, 7) + data(2, exemplar(7)))),
        ("all_gauge", 1, data(2, double(1, float("nan")))),
        ("all_summary", 2, data(4, number(1, 3) + double(2, 6) + quantile)),
        ("all_untyped", 3, data(5, double(1, float("-inf")))),
        ("all_classic", 4, data(7, classic)),
        ("all_native", 4, data(7, native)),
        ("all_floats", 4, data(7, floats)),
    ]
    for name, kind, value in families:
        family = data(1, name.encode()) + data(2, b"What it is.") + number(3, kind) + data(4, series + value)
        sys.stdout.buffer.write(varint(len(family)) + family)


def fields(message):
    """The fields of a message in the order of their numbers: number, value."""
    found, at = [], 0
    while at < len(message):
        tag, at = varint_at(message, at)
        if tag & 7 == 0:
            value, at = varint_at(message, at)
        else:
            length = {1: 8, 5: 4}.get(tag & 7)
            if length is None:
                length, at = varint_at(message, at)
            value = message[at:at + length]
            at += length
        found.append((tag >> 3, value))
    return sorted(found, key=lambda field: field[0])


def scrape(path):
    """Series that were pushed: name and labels, to type, help and all that the value says."""
    everything, at, found = open(path, "rb").read(), 0, {}
    while at < len(everything):
        length, at = varint_at(everything, at)
        family = fields(everything[at:at + length])
        at += length
        name, head = dict(family)[1], [field for field in family if field[0] in (2, 3)]
        for metric in (fields(value) for field, value in family if field == 4):
            labels = tuple(sorted(tuple(value for _, value in fields(label)) for field, label in metric if field == 1))
            if any(name == b"job" for name, _ in labels):
                # Buckets and quantiles hold their own fields in any order, too.
                value = [(field, fields(value)) for field, value in metric if field != 1]
                found[name, labels] = (head, value)
    return found


def compare(ours, theirs):
    ours, theirs = scrape(ours), scrape(theirs)
    for series in sorted(ours.keys() | theirs.keys()):
        if ours.get(series) != theirs.get(series):
            print(f"{series}:\n  imported {ours.get(series)}\n  exposed  {theirs.get(series)}")
    if ours != theirs or not theirs:
        sys.exit(1)
    print(len(theirs))


if __name__ == "__main__":
    body() if sys.argv[1:] == ["body"] else compare(*sys.argv[2:])

"""Writes a push body to standard output: one native histogram, as delimited protobuf, by hand.

Schema 0: the bucket of index n ends at 2^n. Four observations in (1, 2], four in (2, 4], sum 20.
"""

import struct
import sys


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def double(field, value):
    return varint(field << 3 | 1) + struct.pack("<d", value)


def message(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def zigzag(value):
    return value << 1 ^ value >> 63


# Two buckets from index 1 on; their counts are deltas.
span = number(1, zigzag(1)) + number(2, 2)
histogram = (
    number(1, 8)
    + double(2, 20)
    + number(5, zigzag(0))
    + double(6, 0.001)
    + number(7, 0)
    + message(12, span)
    + message(13, varint(zigzag(4)) + varint(zigzag(0)))
)
family = message(1, b"native_seconds") + message(2, b"How long.") + number(3, 4) + message(4, message(7, histogram))
sys.stdout.buffer.write(varint(len(family)) + family)

"""Writes a push body to standard output: one native histogram, as delimited protobuf, by hand.

Schema 0: the bucket of index n ends at 2^n. Four observations in (1, 2], four in (2, 4], sum 20.
"""

import sys

from protobuf_wire import data, double, number, varint, zigzag

# Two buckets from index 1 on; their counts are deltas.
span = number(1, zigzag(1)) + number(2, 2)
histogram = (
    number(1, 8)
    + double(2, 20)
    + number(5, zigzag(0))
    + double(6, 0.001)
    + number(7, 0)
    + data(12, span)
    + data(13, varint(zigzag(4)) + varint(zigzag(0)))
)
family = data(1, b"native_seconds") + data(2, b"How long.") + number(3, 4) + data(4, data(7, histogram))
sys.stdout.buffer.write(varint(len(family)) + family)

"""Pushes the shared registry with PyPI's prometheus-client: python_client.py ADDRESS STEP [COMPRESSION]"""

import sys

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)

address, step = sys.argv[1:3]
compression = {"compression": sys.argv[3]} if len(sys.argv) > 3 else {}
job = "python"
key = {"instance": "i", "path": "/var/tmp"}

registry = CollectorRegistry()
if step == "push":
    Counter("jobs", "Jobs done.", ["kind"], registry=registry).labels("a b").inc(3)
    Gauge("load", "How busy.", registry=registry).set(0.5)
    latency = Histogram("latency_seconds", "How long.", buckets=(0.5, 1), registry=registry)
    for seconds in (0.25, 0.75, 2):
        latency.observe(seconds)
    push_to_gateway(address, job, registry, key, **compression)
elif step == "add":
    Gauge("added", "Added later.", registry=registry).set(7)
    pushadd_to_gateway(address, job, registry, key, **compression)
else:
    delete_from_gateway(address, job, key)

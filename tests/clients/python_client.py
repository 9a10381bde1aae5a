"""Pushes the shared registry with PyPI's prometheus-client: python_client.py ADDRESS STEP [COMPRESSION]

Where COMPRESSION is `password` or `certificate`, by the client's handler for that, with what the folder TLS holds.
"""

import os
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
from prometheus_client.exposition import basic_auth_handler, tls_auth_handler


def by_password(url, method, timeout, headers, data):
    return basic_auth_handler(url, method, timeout, headers, data, "alice", "opensesame")


def by_certificate(url, method, timeout, headers, data):
    files = (os.path.join(os.environ["TLS"], name) for name in ("client.pem", "client.key", "ca.pem"))
    return tls_auth_handler(url, method, timeout, headers, data, *files)


address, step = sys.argv[1:3]
handlers = {"password": {"handler": by_password}, "certificate": {"handler": by_certificate}}
way = handlers.get(sys.argv[3], {"compression": sys.argv[3]}) if len(sys.argv) > 3 else {}
job = "python"
key = {"instance": "i", "path": "/var/tmp"}

registry = CollectorRegistry()
if step == "push":
    Counter("jobs", "Jobs done.", ["kind"], registry=registry).labels("a b").inc(3)
    Gauge("load", "How busy.", registry=registry).set(0.5)
    latency = Histogram("latency_seconds", "How long.", buckets=(0.5, 1), registry=registry)
    for seconds in (0.25, 0.75, 2):
        latency.observe(seconds)
    push_to_gateway(address, job, registry, key, **way)
elif step == "add":
    Gauge("added", "Added later.", registry=registry).set(7)
    pushadd_to_gateway(address, job, registry, key, **way)
else:
    delete_from_gateway(address, job, key, **({} if "compression" in way else way))

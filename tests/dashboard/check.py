"""Every query of the dashboard and every rule against a real Prometheus and a real gateway.

    check.py GATEWAY PROMETHEUS PROMTOOL        run by scripts/dashboard-check

The load is a few seconds of pushes that are stored, refused for each reason a client can cause, forgiven, let run
out of their lifetime, broken by a plugin and refused by one. The last line says how many checks passed and failed.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

DASHBOARD = "packaging/grafana/floodway.json"
RULES = "docs/floodway-alerts.yml"
LOAD_SECONDS = 15

# Where nothing is the good news: data is asked for, and may be all zeros.
MAY_BE_ZERO = re.compile("hidden|failures|failing|lag_seconds|breaker|lines_dropped")

PLUGIN = """
return {
  api = 1,
  version = "1",
  on_push = function(push)
    if push.group.job == "plugin-fails" then error("as asked") end
    if push.group.job == "plugin-refuses" then return gate.reject(422, "as asked") end
    if push.group.job == "plugin-discards" then return gate.discard() end
  end,
}
"""

passed = failed = 0


def check(name, holds, detail=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"{name}: FAILED {detail}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(method, url, body=None, headers=None):
    """The status of the answer; refusals are what the load is for."""
    asked = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def wait_for(url):
    for _ in range(300):
        try:
            if request("GET", url)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def load(gateway):
    """One round of everything."""
    at = f"{gateway}/metrics/job"
    now = time.time()
    stored = [
        request("PUT", f"{at}/batch/instance/{n}", f"rows_total {now}\nseconds {n}\n".encode()) for n in range(7)
    ]
    assert all(status == 200 for status, _ in stored), stored
    request("DELETE", f"{at}/nobody")
    request("POST", f"{at}/malformed", b"m one\n")
    if load.rounds == 0:
        # Never again: a scrape between a push that is taken and one that fails would see no failure.
        request("POST", f"{at}/failing", b"m 1\n")
    request("POST", f"{at}/failing", b"# TYPE rows_total gauge\nrows_total 1\n")
    request("POST", f"{at}/batch/@base64", b"m 1\n")
    request("POST", f"{at}/encoded", b"m 1\n", {"Content-Encoding": "br"})
    request("POST", f"{at}/large", b"x" * 70_000)
    request("POST", f"{at}/forgiven", b"m 1\r\n")
    request("POST", f"{at}/forgiven", b"m 1")
    if load.rounds % 10 == 0:
        request("POST", f"{at}/ends?lifetime=1s", b"m 1\n")
    if load.rounds == 0:
        request("POST", f"{at}/overdue?lifetime=1s", b"m 1\n")
    for job in ("plugin-fails", "plugin-refuses", "plugin-discards"):
        request("POST", f"{at}/{job}", b"m 1\n")
    request("POST", f"{at}/too-many", b"".join(b'm{n="%d"} 1\n' % n for n in range(600)))
    request("GET", f"{gateway}/")
    request("GET", f"{gateway}/api/v1/metrics")
    with socket.create_connection(gateway.removeprefix("http://").split(":")) as broken:
        broken.sendall(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        broken.recv(4096)
    load.rounds += 1


load.rounds = 0


class Prometheus:
    def __init__(self, url):
        self.url = url

    def query(self, expr):
        text = urllib.parse.urlencode({"query": expr})
        status, body = request("GET", f"{self.url}/api/v1/query?{text}")
        answer = json.loads(body)
        if status != 200:
            raise ValueError(answer.get("error"))
        return answer["data"]["result"]

    def rules(self):
        return json.loads(request("GET", f"{self.url}/api/v1/rules")[1])["data"]["groups"]


def queries():
    """The panel and the expression of each target, variables replaced."""
    for panel in json.load(open(DASHBOARD))["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"]
            for variable, value in (("$job", ".+"), ("$instance", ".+"), ("$__rate_interval", "10s")):
                expr = expr.replace(variable, value)
            assert "$" not in expr, expr
            yield panel["title"], expr


def check_dashboard(prometheus):
    for title, expr in queries():
        try:
            result = prometheus.query(expr)
        except ValueError as error:
            check(f"{title}: {expr}", False, str(error))
            continue
        values = [float(series["value"][1]) for series in result]
        check(f"{title}: {expr}", values, "no data")
        check(f"{title}: {expr}", all(value == value for value in values), "not a number")
        if values and not MAY_BE_ZERO.search(expr):
            check(f"{title}: {expr}", any(values), "all zero under load")


def check_rules(prometheus):
    kinds = {"recording": 0, "alerting": 0}
    for group in prometheus.rules():
        for rule in group["rules"]:
            kinds[rule["type"]] += 1
            check(f"rule {rule['name']}", rule["health"] == "ok", rule.get("lastError", ""))
            if rule["type"] == "recording":
                check(f"rule {rule['name']} records", prometheus.query(rule["name"]))
            # A rule about a metric that nobody has would keep quiet for ever.
            for metric in set(re.findall(r"\b(?:up|(?:floodway|pushgateway|push)[a-z0-9:_]+)\b", rule["query"])):
                if metric not in ("floodway", "pushgateway"):
                    check(f"rule {rule['name']}: {metric} is there", prometheus.query(f"count({metric})"))
    check("rules of both kinds", all(kinds.values()), str(kinds))
    states = {rule["name"]: rule["state"] for group in prometheus.rules() for rule in group["rules"] if "state" in rule}
    # What the load does to the gateway is what these are there to tell.
    for alert in ("LastPushFailed", "PushesRefused", "NearLimit", "PluginErrors", "PushedJobOverdue"):
        check(f"alert {alert}", states.get(alert) in ("pending", "firing"), str(states.get(alert)))
    for alert in ("FloodwayDown", "PushTooOld", "PushesNotDurable", "DurableLag"):
        check(f"alert {alert} keeps quiet", states.get(alert) == "inactive", str(states.get(alert)))


def main(program, prometheus_program, promtool):
    for arguments in (["check", "rules", RULES], ["test", "rules", "docs/floodway-alerts-test.yml"]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True)
        check(f"promtool {' '.join(arguments)}", done.returncode == 0, done.stdout + done.stderr)
    started = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mkdir(f"{folder}/plugins")
            with open(f"{folder}/plugins/checked.lua", "w") as plugin:
                plugin.write(PLUGIN)
            with open(f"{folder}/lifetimes.yml", "w") as rules:
                rules.write("rules: [{match: '{job=\"overdue\"}', action: flag}]\n")
            port, prometheus_port = free_port(), free_port()
            gateway, prometheus = f"http://127.0.0.1:{port}", Prometheus(f"http://127.0.0.1:{prometheus_port}")
            started.append(subprocess.Popen([
                program, f"--web.listen-address=127.0.0.1:{port}", f"--persistence.file={folder}/groups",
                f"--plugin.dir={folder}/plugins", f"--lifetime.config={folder}/lifetimes.yml", "--push.lenient",
                "--limit.body-bytes=65536", "--limit.groups=12", "--limit.series=1000", "--limit.memory=100000000",
                "--limit.job-series=500",
            ], stderr=open(f"{folder}/gateway.log", "w")))
            with open(f"{folder}/prometheus.yml", "w") as config:
                config.write(
                    "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    f"rule_files: [{os.path.abspath(RULES)}]\n"
                    "scrape_configs:\n"
                    "  - job_name: floodway\n    honor_labels: true\n"
                    f"    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
                )
            wait_for(f"{gateway}/-/ready")
            started.append(subprocess.Popen([
                prometheus_program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{prometheus_port}",
            ], stderr=open(f"{folder}/prometheus.log", "w")))
            wait_for(f"{prometheus.url}/-/ready")
            print(f"Prometheus {json.loads(request('GET', prometheus.url + '/api/v1/status/buildinfo')[1])['data']['version']}")
            end = time.monotonic() + LOAD_SECONDS
            while time.monotonic() < end:
                load(gateway)
                time.sleep(0.25)
            check_dashboard(prometheus)
            check_rules(prometheus)
        finally:
            for process in started:
                process.terminate()
                process.wait()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


main(*sys.argv[1:])

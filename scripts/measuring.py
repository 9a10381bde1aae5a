"""What the measuring scripts share: servers on loopback, their CPU time, pushes, scrapes, the load.

A server runs on one core and all load on another. CPU time is the process' own, user and system, of all
its threads and in nanoseconds, from the scheduler: on a busy machine it stays put where rates do not.
Every process started here is ended here, by its process id, also after an error.
"""

import atexit
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
SERVER_CORES = {SERVER_CORE}  # of servers started from now on
FAMILIES, SERIES = 10, 100
BEGUN = time.monotonic()

_scratch = tempfile.mkdtemp(prefix="floodway-measure-")
_servers = []


@atexit.register
def _clean():
    for server in _servers:
        server.stop()
    shutil.rmtree(_scratch, ignore_errors=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))


def fail(message):
    """Ends the script: what was measured is worth nothing."""
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def need(**packages):
    """Ends the script unless each program is there; `program="package"` by Debian's names."""
    missing = {package for program, package in packages.items() if not shutil.which(program)}
    if missing:
        fail("not installed: " + ", ".join(sorted(missing)) + f" (apt install {' '.join(sorted(missing))})")


def say(message):
    """Progress, away from the figures."""
    print(f"[{time.monotonic() - BEGUN:4.0f} s] {message}", file=sys.stderr, flush=True)


def scratch(name):
    return pathlib.Path(_scratch, name)


def load_here():
    """Moves this process, and what it starts from now on, to the core of the load."""
    os.sched_setaffinity(0, {LOAD_CORE})


def floodway_binary():
    """The program to measure: FLOODWAY_BIN, or a release build of this checkout."""
    if given := os.environ.get("FLOODWAY_BIN"):
        return given
    say("building the release binary")
    if subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT).returncode:
        fail("the release build failed")
    return str(TARGET / "release" / "floodway")


def loadgen_binary():
    """The load generator of this checkout: LOADGEN_BIN, or built."""
    if given := os.environ.get("LOADGEN_BIN"):
        return given
    say("building the load generator")
    target = TARGET / "loadgen"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", "benches/loadgen/Cargo.toml",
               "--target-dir", target]
    if subprocess.run(command, cwd=ROOT).returncode:
        fail("the load generator does not build")
    return str(target / "release" / "loadgen")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def before_others():
    """Puts this process before others of its core, if it may: they are not what is measured."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass


def punctual(first=True):
    """Puts this process before all others of its core, if it may, or back: what measures must not wait for the load."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO if first else os.SCHED_OTHER, os.sched_param(10 if first else 0))
        return True
    except PermissionError:
        return False


class Server:
    """A process that listens on `port` of loopback, on the servers' core."""

    def __init__(self, argv, port, ready="/", poll=0.05, **env):
        self.port, self.argv = port, argv
        self.log = scratch(f"{port}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | env,
                preexec_fn=lambda: (os.sched_setaffinity(0, SERVER_CORES), before_others()))
        _servers.append(self)
        deadline = time.monotonic() + 30
        while True:
            try:
                if request(port, "GET", ready)[0] < 500:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                fail(f"{argv[0]} did not start: {self.log.read_text(errors='replace')[-400:].strip()}")
            time.sleep(poll)

    def pids(self):
        """Its process, and those that it has started."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def cpu(self):
        """Seconds of CPU used so far by all threads, ended ones too."""
        # The clock of another process, as clock_getcpuclockid(3) computes it; 2 is the scheduler's.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())

    def settled_cpu(self):
        """The same, once no work is left over: twice in a row a tenth of a second used nothing to speak of."""
        quiet, last = 0, self.cpu()
        deadline = time.monotonic() + 10
        while quiet < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.cpu()
            quiet = quiet + 1 if now - last < 0.001 else 0
            last = now
        return last

    def memory(self, field="VmRSS"):
        """Resident bytes: now, or the most since `forget_peak` with VmHWM."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        fail("the server has gone")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self, patience=10):
        """Ends it; if it has not within `patience` seconds, by force."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def floodway(binary, *flags):
    port = free_port()
    listen = f"--web.listen-address=127.0.0.1:{port}"
    return Server([binary, listen, "--log.level=error", *flags], port, "/-/ready")


def nginx(files=None, workers=1):
    """nginx: answers 202 and throws the body away; serves the folder `files` under /f/. One worker is one
    process; more have a master, and a queue of connections each, as our workers do."""
    port, folder = free_port(), scratch(f"nginx-{free_port()}")
    folder.mkdir()
    serve = f"location /f/ {{ alias {files}/; gzip_static on; default_type text/plain; }}" if files else ""
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(f"""
        daemon off; master_process {"off" if workers == 1 else "on"}; worker_processes {workers};
        pid {folder}/pid; error_log {folder}/error; {user}
        events {{ worker_connections 4096; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; {temporary}
            client_body_buffer_size 1m; client_max_body_size 64m;
            server {{ listen 127.0.0.1:{port}{"" if workers == 1 else " reuseport"}; location / {{ return 202; }} {serve} }}
        }}""")
    return Server([shutil.which("nginx"), "-e", f"{folder}/error", "-c", f"{folder}/conf"], port)


def request(port, method, path, body=None, headers=None, timeout=120):
    """One request on a connection of its own: status, body, headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


# The same lines in every group, with other values: what a fleet of one batch job pushes. Half of the
# families are counters of whole numbers, half are gauges with three decimals.
_lines = []
for _family in range(FAMILIES):
    _name = f"batch_job_stage_{_family}_" + ("seconds" if _family % 2 else "records_total")
    _lines.append(f"# HELP {_name} What stage {_family} of the job did.")
    _lines.append(f"# TYPE {_name} " + ("gauge" if _family % 2 else "counter"))
    _lines += [f'{_name}{{shard="{_shard}",region="eu-west-1",status="succeeded"}} '
               + ("%d.%03d" if _family % 2 else "%d") for _shard in range(SERIES // FAMILIES)]
TEMPLATE = "\n".join(_lines) + "\n"
_SLOTS = TEMPLATE.count("%")


def body(rnd=random):
    """100 samples in 10 families of 3 labels, about 8 KB, with values drawn at random."""
    return (TEMPLATE % tuple(rnd.choices(range(1000), k=_SLOTS))).encode()


class Pusher:
    """A connection kept open for pushes, one after another."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(self, path, content):
        self.socket.sendall(put(path, content))
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (more := self.socket.recv(65536)):
                break
            answer += more
        if answer[9:12] not in (b"200", b"202") or not answer.endswith(b"\r\n\r\n"):
            fail(f"the push to {path} was answered {answer[:300]!r}")


def put(path, content):
    """The bytes of a push."""
    return b"PUT %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(), len(content), content)


def group(number):
    return f"/metrics/job/nightly_report/instance/worker-{number}"


def fill(servers, groups=10_000):
    """100 series in each group, the same to all servers."""
    say(f"storing {groups * SERIES:,} series in {groups:,} groups")
    pushers = [Pusher(server) for server in servers]
    for number in range(groups):
        content = body()
        for pusher in pushers:
            pusher.put(group(number), content)


def middle(values, form="{:.1f}"):
    """A median, and the range it comes from."""
    values = list(values)
    return f"{form} ({form}-{form})".format(statistics.median(values), min(values), max(values))


def cpu_times():
    """Ticks of the whole machine so far: busy, stolen by neighbours of the hypervisor, all."""
    ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], ticks[7], sum(ticks)


_times = cpu_times()


def conditions(binary):
    """Lines on the machine and on what it did besides, to stand with the figures."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), os.uname().machine)
    busy, stolen, all_ = (now - then for now, then in zip(cpu_times(), _times))
    version = subprocess.run([binary, "--version"], capture_output=True, text=True)
    version = " ".join((version.stdout or version.stderr).splitlines()[:1])
    cores = "one core for server and load" if SERVER_CORE == LOAD_CORE else \
        f"server on core {SERVER_CORE}, load on core {LOAD_CORE}"
    return (f"Machine: {model}, {os.cpu_count()} cores, Linux {os.uname().release}; {cores}; "
            f"load average {os.getloadavg()[0]:.1f}, machine {100 * busy / max(all_, 1):.0f} % busy, "
            f"{100 * stolen / max(all_, 1):.1f} % stolen, {time.monotonic() - BEGUN:.0f} s.\n{version}")

"""Runs an installed gateway in another root, as systemd or a container engine does.

    supervise.py ROOT UNIT             the ExecStart of a unit, with a socket passed and readiness told
    supervise.py ROOT --image USER     /floodway, and its health check, as UID:GID

Run by scripts/package-check. Ends with an exception where something is not as it should be.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request

# What DynamicUser= would make one of.
NOBODY = "65534:65534"


def in_root(root, user, words, **options):
    return subprocess.Popen(["chroot", f"--userspec={user}", root, *words], **options)


def ask(port, path, body=None):
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=10) as answer:
        return answer.read().decode()


def stop(process):
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=30)
    assert status == 0, f"ended with {status}"


def unit(root, path):
    text = open(root + path).read()
    [command] = re.findall(r"^ExecStart=(.*)$", text, re.M)
    defaults = open(f"{root}/etc/default/floodway").read()
    assert re.search(r'^ARGS=""$', defaults, re.M), defaults
    assert re.search(r"^EnvironmentFile=-/etc/default/floodway$", text, re.M)
    words = [word for word in shlex.split(command) if word != "$ARGS"] + ["--web.systemd-socket"]
    # StateDirectory=
    os.mkdir(f"{root}/var/lib/floodway", 0o700)
    os.chown(f"{root}/var/lib/floodway", *map(int, NOBODY.split(":")))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    port = listener.getsockname()[1]
    news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    news.bind(f"{root}/tmp/news")
    os.chmod(f"{root}/tmp/news", 0o777)
    news.settimeout(30)

    def start():
        # The program is told its own number, which it has after the last exec; the socket is its number 3.
        script = 'exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        shell = ["/bin/sh", "-c", script, "sh", *words]
        environment = {"NOTIFY_SOCKET": "/tmp/news", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        process = in_root(root, NOBODY, shell, env=environment, stdin=listener)
        while "READY=1" not in (word := news.recv(4096).decode()):
            print(f"supervisor hears: {word!r}")
        return process

    process = start()
    ask(port, "/metrics/job/backup", b"backup_seconds 42\n")
    stop(process)
    heard = news.recv(4096).decode()
    assert "STOPPING=1" in heard, heard
    # The socket outlives it: whoever comes now waits.
    waiting = socket.create_connection(("127.0.0.1", port))
    waiting.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
    process = start()
    assert re.match(rb"HTTP/1\.[01] 200 ", waiting.recv(4096)), "whoever waited was not answered"
    assert 'backup_seconds{instance="",job="backup"} 42' in ask(port, "/metrics"), "the group was not kept"
    stop(process)
    print("unit: ready, stopping and started again on a passed socket; the group was kept")


def image(root, user):
    # The health check has the default port in it.
    process = in_root(root, user, ["/floodway", "--web.listen-address=127.0.0.1:9091"])
    health = 1
    for _ in range(100):
        health = in_root(root, user, ["/floodway", "healthcheck"], stderr=subprocess.DEVNULL).wait()
        if health == 0 or process.poll() is not None:
            break
        time.sleep(0.1)
    assert health == 0, "not healthy"
    ask(9091, "/metrics/job/backup", b"backup_seconds 42\n")
    assert 'backup_seconds{instance="",job="backup"} 42' in ask(9091, "/metrics")
    assert "backup_seconds" in ask(9091, "/group/job/backup")
    stop(process)
    assert in_root(root, user, ["/floodway", "healthcheck"], stderr=subprocess.DEVNULL).wait() != 0
    print("image: healthy, pushed to, scraped, stopped, and no longer healthy")


if sys.argv[2] == "--image":
    image(sys.argv[1], sys.argv[3])
else:
    unit(sys.argv[1], sys.argv[2])

// A gateway on loopback for the walk: started, pushed to, asked for its CPU time, stopped.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";

const started = [];

// Kernel ticks a second, in which /proc counts CPU time: 100 on every Linux that Chromium runs on.
const TICKS = 100;

// Starts the program with flags; `origin` replaces how it is reached.
export async function start(binary, flags = [], scheme = "http") {
    const child = spawn(binary, ["--web.listen-address=127.0.0.1:0", ...flags], { stdio: ["ignore", "ignore", "pipe"] });
    started.push(child);
    const address = await new Promise((found, failed) => {
        let log = "";
        child.stderr.on("data", (data) => {
            log += data;
            const match = /msg="Listening on".*address=([0-9.:]+).*\n/.exec(log);
            if (match) found(match[1]);
        });
        child.on("exit", () => failed(new Error(`the gateway did not start:\n${log}`)));
    });
    return {
        url: `${scheme}://${address}`,
        port: Number(address.split(":")[1]),
        // Milliseconds of CPU that it has taken so far, all threads, user and system.
        cpu() {
            const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
            return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
        },
        stop() {
            child.kill();
        },
    };
}

export function stopAll() {
    for (const child of started) child.kill();
}

// One request; resolves to its status and body.
export function send(url, { method = "POST", body, headers = {} } = {}) {
    const client = url.startsWith("https") ? https : http;
    return new Promise((answered, failed) => {
        const request = client.request(url, { method, headers, rejectUnauthorized: false }, (answer) => {
            let text = "";
            answer.on("data", (data) => (text += data));
            answer.on("end", () => answered({ status: answer.statusCode, text }));
        });
        request.on("error", failed);
        request.end(body);
    });
}

// Pushes one small body to `count` groups, pipelined over one connection; `path` names the group of a number.
export function pushMany(port, count, path, body) {
    const chunk = 500;
    return new Promise((done, failed) => {
        const socket = net.connect(port, "127.0.0.1");
        let sent = 0;
        let answered = 0;
        let rest = "";
        const more = () => {
            let requests = "";
            for (const end = Math.min(count, sent + chunk); sent < end; sent++) {
                const text = body(sent);
                requests += `POST ${path(sent)} HTTP/1.1\r\nHost: gateway\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
            }
            socket.write(requests);
        };
        socket.on("data", (data) => {
            const lines = (rest + data).split("\r\n");
            rest = lines.pop();
            for (const line of lines) {
                if (!line.startsWith("HTTP/1.1 ")) continue;
                if (!line.startsWith("HTTP/1.1 200 ")) failed(new Error(line));
                answered++;
            }
            if (answered === count) socket.end(done);
            else if (answered === sent) more();
        });
        socket.on("error", failed);
        more();
    });
}

// A reverse proxy that serves the gateway under `prefix` and takes the prefix off, as nginx does.
export async function proxy(target, prefix) {
    const server = http.createServer((request, answer) => {
        const path = request.url.startsWith(`${prefix}/`) ? request.url.slice(prefix.length) : "/outside";
        const onward = http.request(
            { port: target.port, host: "127.0.0.1", path, method: request.method, headers: request.headers },
            (got) => {
                answer.writeHead(got.statusCode, got.headers);
                got.pipe(answer);
            },
        );
        onward.on("error", () => answer.destroy());
        request.pipe(onward);
    });
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    return { url: `http://127.0.0.1:${server.address().port}${prefix}`, stop: () => server.close() };
}

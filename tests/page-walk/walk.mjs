// Walks the pages as an operator does, in headless Chromium, and asserts what is seen.
//
//   node walk.mjs BINARY CHROMIUM SCREENSHOTS        run by scripts/page-walk
//
// Each part starts its own gateway on loopback. The last line says how many checks passed and failed.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { check, openPage, sound, tally } from "./checks.mjs";
import { proxy, pushMany, send, start, stopAll } from "./gateway.mjs";

// Not `import`, which does not look at NODE_PATH.
const { chromium } = createRequire(import.meta.url)("playwright-core");
const [binary, program, screenshots] = process.argv.slice(2);

// CPU that the server may take for the first view of 100,000 groups, and for a search among them.
const PAGE_CPU_MS = 200;
const MANY = 100_000;

const browser = await chromium.launch({
    executablePath: program,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"],
});
const scratch = mkdtempSync(join(tmpdir(), "page-walk-"));

// A picture of the whole page, or with a height, of its top.
async function shoot(page, name, colorScheme = "light", width = 1280, height = 0) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: height || 800 });
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: height === 0 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 800 });
}

const text = (page, selector = "body") => page.locator(selector).first().innerText();
const push = (gateway, path, body, headers = {}) => send(`${gateway.url}/metrics${path}`, { body, headers });

const PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

// One group with every type of metric.
const EVERY_TYPE = `# HELP batch_rows_total Rows read from the source table.
# TYPE batch_rows_total counter
batch_rows_total{table="orders"} 128340
batch_rows_total{table="customers"} 9122
# HELP batch_last_success_timestamp_seconds When the batch last ended well.
# TYPE batch_last_success_timestamp_seconds gauge
batch_last_success_timestamp_seconds 1.7637e+09
batch_exit_code 0
# HELP batch_step_seconds Time that each step took.
# TYPE batch_step_seconds histogram
batch_step_seconds_bucket{le="0.1"} 4
batch_step_seconds_bucket{le="0.5"} 31
batch_step_seconds_bucket{le="1"} 88
batch_step_seconds_bucket{le="2.5"} 140
batch_step_seconds_bucket{le="10"} 151
batch_step_seconds_bucket{le="+Inf"} 153
batch_step_seconds_sum 214.5
batch_step_seconds_count 153
# HELP batch_request_seconds Time that requests of the batch waited.
# TYPE batch_request_seconds summary
batch_request_seconds{quantile="0.5"} 0.012
batch_request_seconds{quantile="0.9"} 0.04
batch_request_seconds{quantile="0.99"} 0.31
batch_request_seconds_sum 93.5
batch_request_seconds_count 5120
`;

async function empty() {
    const gateway = await start(binary);
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    const shown = await text(page);
    check("empty: says so", shown.includes("Nothing was pushed yet"));
    check("empty: shows how to push", shown.includes("curl --data-binary @- http://localhost:"));
    check("empty: nothing to wipe", !shown.includes("Delete all"));
    await page.getByText("Flags", { exact: true }).click();
    check("empty: flags", (await text(page)).includes("web.listen-address"));
    check("empty: build, driver, uptime", /Version\s+\d.*Driver\s+(io_uring|epoll)|Driver\s+(io_uring|epoll)[^]*Version\s+\d/s.test(shown)
        && /Started[^]*\d+s ago/.test(shown));
    await sound(page, "empty");
    await shoot(page, "empty");
    await page.goto(`${gateway.url}/group/job/none`);
    check("empty: no such group", (await text(page)).includes("there is no group"));
    gateway.stop();
}

async function five() {
    const gateway = await start(binary, ["--limit.groups=6", "--web.enable-admin-api"]);
    await push(gateway, "/job/nightly-backup/instance/db1", "# TYPE backup_seconds gauge\nbackup_seconds 81.2\nbackup_bytes 9.1e+09\n");
    await push(gateway, "/job/nightly-backup/instance/db2", "# TYPE backup_seconds gauge\nbackup_seconds 77\nbackup_bytes 8.4e+09\n");
    await push(gateway, "/job/warehouse-load", EVERY_TYPE);
    await push(gateway, "/job/certificates/host/www1/renewer/acme?lifetime=90m", "certificate_not_after_seconds 1.79e+09\n");
    await push(gateway, "/job/report", "report_rows 12\n");
    await push(gateway, "/job/report", "report_rows twelve\n"); // Malformed: in the journal, not held against the group.
    await push(gateway, "/job/report", "report_rows 12 1000\n");
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    const rows = page.locator("main table").first().locator("tbody tr");
    check("five: a row each", (await rows.count()) === 5, `${await rows.count()} rows`);
    check("five: the heading", /^5 groups/.test(await text(page, "h1")), await text(page, "h1"));
    const failed = page.locator("tr.failed");
    check("five: the failed one stands out", (await failed.count()) === 1 && (await text(page, "tr.failed")).includes("Last push failed"));
    const grounds = await page.evaluate(() => ["tr.failed td", "tbody tr:not(.failed) td"].map(
        (which) => getComputedStyle(document.querySelector(which)).backgroundColor));
    check("five: and has another ground", grounds[0] !== grounds[1], grounds.join(" "));
    check("five: why it failed", (await text(page)).includes("expected float as value"));
    check("five: when a group ends", /in 1h 29m/.test(await text(page)) || /in 1h 30m/.test(await text(page)));
    check("five: push rate", /[\d.]+ pushes a second/.test(await text(page)));
    check("five: nearness of the limit", (await page.locator("tr", { hasText: /^groups/ }).locator("meter").getAttribute("value")) === "0.833");
    await sound(page, "five");
    await shoot(page, "groups");
    // docs/page.png is this one.
    await shoot(page, "readme", "light", 1100, 880);
    await shoot(page, "groups-dark", "dark");
    await shoot(page, "groups-phone", "light", 390);

    await page.getByRole("searchbox").fill("backup_bytes");
    await page.getByRole("button", { name: "Search" }).click();
    check("five: found by metric", (await rows.count()) === 2);
    await page.getByRole("searchbox").fill("instance=db2");
    await page.getByRole("button", { name: "Search" }).click();
    check("five: found by label", (await rows.count()) === 1);
    await page.getByRole("searchbox").fill("nowhere");
    await page.getByRole("button", { name: "Search" }).click();
    check("five: nothing found", (await text(page)).includes("No group matches"));
    await sound(page, "nothing found");
    await page.getByRole("searchbox").fill("");
    await page.getByLabel("Order").selectOption("failed");
    await page.getByRole("button", { name: "Search" }).click();
    check("five: failed first", (await rows.first().getAttribute("class")) === "failed");
    await page.getByLabel("Order").selectOption("largest");
    await page.getByRole("button", { name: "Search" }).click();
    check("five: largest first", (await rows.first().innerText()).includes("warehouse-load"));

    await page.getByText("Delete all groups…").click();
    await page.getByRole("button", { name: "Delete all 5 groups" }).click();
    check("five: wiped", (await text(page)).includes("Nothing was pushed yet"));
    gateway.stop();
}

async function types() {
    const gateway = await start(binary);
    await push(gateway, "/job/warehouse-load/instance/loader1", EVERY_TYPE);
    const native = execFileSync("python3", ["tests/clients/native_histogram.py"]);
    await push(gateway, "/job/warehouse-load/instance/loader1", native, { "Content-Type": PROTOBUF });
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    await page.locator("main table").first().locator("a").first().click();
    check("types: the page of the group", page.url() === `${gateway.url}/group/job/warehouse-load/instance/loader1`, page.url());
    const family = (name) => page.locator("section.family", { has: page.getByRole("heading", { name, exact: true }) });
    const says = async (name, ...words) => {
        const shown = await family(name).innerText();
        for (const word of words) check(`types: ${name} says ${word}`, shown.includes(word), shown);
    };
    await says("batch_rows_total", "COUNTER", "Rows read from the source table.", 'table="orders"', "128340");
    await says("batch_last_success_timestamp_seconds", "GAUGE", "1763700000");
    await says("batch_exit_code", "UNTYPED", "0");
    await says("batch_step_seconds", "HISTOGRAM", "153 samples, sum 214.5");
    await says("batch_request_seconds", "SUMMARY", "Quantile 0.99", "0.31", "5120");
    await says("native_seconds", "HISTOGRAM", "8 samples, sum 20");
    const bars = (name) => family(name).locator("svg rect");
    check("types: bars of a histogram", (await bars("batch_step_seconds").count()) === 6);
    check("types: bars of a native one", (await bars("native_seconds").count()) >= 2);
    const sizes = await bars("batch_step_seconds").evaluateAll((all) => all.map((bar) => bar.getBoundingClientRect().height));
    check("types: the tallest bar is the fullest bucket", Math.max(...sizes) === sizes[2] && sizes[2] > 30, sizes.join(" "));
    await sound(page, "types");
    await family("batch_step_seconds").locator("summary").click();
    await says("batch_step_seconds", "≤ 2.5", "140");
    await sound(page, "types, a histogram unfolded");
    await shoot(page, "types");
    await shoot(page, "types-dark", "dark");
    await shoot(page, "types-phone", "light", 390);
    gateway.stop();
}

async function hostile() {
    const gateway = await start(binary, ["--push.enable-utf8-names"]);
    const values = [
        "<script>window.ran = 1; alert(1)</script>",
        "\"><img src=x onerror='window.ran=2'>",
        "' onmouseover='window.ran=3",
        "</style></title></code><svg onload=window.ran=4>",
        "javascript:window.ran=5",
        "{{ 7 * 7 }}${7*7}",
        "x".repeat(3000),
        "\u202Eevitsoh\u2066",
        "Z" + "\u0351\u0352\u0357".repeat(60),
        "line\nbreak\ttab",
        "../../api/v1/admin/wipe",
    ];
    const encoded = (value) => Buffer.from(value).toString("base64url");
    for (const value of values) {
        const quoted = value.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll("\n", "\\n");
        const help = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
        const name = value.length > 100 ? "n".repeat(900) : value.replaceAll("\n", " ");
        const body = `# HELP m ${help}\nm{l="${quoted}"} 1\n{"${name.replaceAll("\"", "\\\"")}"} 2\n`;
        const answer = await push(gateway, `/job@base64/${encoded(value)}/l@base64/${encoded(value)}`, body);
        check(`hostile: pushed ${value.slice(0, 20)}`, answer.status === 200, answer.text);
        await push(gateway, `/job@base64/${encoded(value)}`, `${value} x y z\n`);
    }
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    await sound(page, "hostile list");
    await shoot(page, "hostile");
    for (const query of ["?search=%3Cscript%3Ewindow.ran=1%3C/script%3E", "?search=%22%3E%3Cscript%3E&sort=%22%3E%3Cscript%3E", `?search=${"y".repeat(3000)}`]) {
        await page.goto(`${gateway.url}/${query}`);
        await sound(page, `hostile search ${query.slice(0, 30)}`);
    }
    await page.goto(gateway.url);
    const links = await page.locator("main td > a").evaluateAll((all) => all.map((link) => link.href));
    check("hostile: a link each, to pages of groups", links.length >= values.length && links.every((link) => link.startsWith(`${gateway.url}/group/`)), links.join(" "));
    for (const link of links) {
        await page.goto(link);
        await page.mouse.move(300, 200);
        await sound(page, `hostile group ${link.slice(gateway.url.length, gateway.url.length + 40)}`);
    }
    await page.goto(links[0]);
    await shoot(page, "hostile-group");
    // A group that is not there is named in the answer, which is no HTML.
    await page.goto(`${gateway.url}/group/job/${encodeURIComponent("<script>window.ran=1</script>")}`);
    check("hostile: no such group", (await page.evaluate(() => window.ran ?? null)) === null);
    gateway.stop();
}

// Plugins that refuse, fail, and word it as badly as they can; one that is told nothing.
async function plugins() {
    const folder = join(scratch, "plugins");
    mkdirSync(folder);
    writeFileSync(join(folder, "strict.lua"), `return { api = 1, version = "1.2", on_push = function(push)
        if push.group.job == "refused" then return gate.reject(422, "<script>window.ran = 1</script>" .. ("y"):rep(400)) end
        if push.group.job == "broken" then error("<img src=x onerror=window.ran=2>") end
    end }`);
    writeFileSync(join(folder, "quiet.lua"), "return { api = 1, on_series = function(s) end }");
    const gateway = await start(binary, [`--plugin.dir=${folder}`]);
    for (const [job, status] of [["taken", 200], ["refused", 422], ["broken", 500]]) {
        const answer = await push(gateway, `/job/${job}`, "m 1\n");
        check(`plugins: ${job}`, answer.status === status, `${answer.status} ${answer.text}`);
    }
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    check("plugins: who refused is shown", (await text(page)).includes("push rejected by plugin strict"));
    await sound(page, "plugins");
    await shoot(page, "plugins");
    gateway.stop();
}

async function keyboard() {
    const gateway = await start(binary);
    await push(gateway, "/job/keep", "m 1\n");
    await push(gateway, "/job/drop/instance/a", "m 1\n");
    const page = await openPage(browser, gateway.url);
    await page.goto(gateway.url);
    // Tabs on until the focused element's words match, at most once around the page.
    const tabTo = async (what) => {
        for (let steps = 0; steps < 40; steps++) {
            await page.keyboard.press("Tab");
            const focused = await page.evaluate(() => {
                const at = document.activeElement;
                const style = getComputedStyle(at);
                const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
                return { words: `${at.tagName} ${at.textContent} ${at.ariaLabel ?? ""}`, seen };
            });
            if (focused.words.startsWith("BODY")) continue;
            check(`keyboard: the focus is seen on ${focused.words.slice(0, 40)}`, focused.seen);
            if (what.test(focused.words)) return;
        }
        check(`keyboard: ${what} is reached`, false);
    };
    await tabTo(/^INPUT .*Search/);
    await page.keyboard.type("drop");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    check("keyboard: found", page.url().includes("search=drop") && !(await text(page)).includes("\"keep\""), page.url());
    await tabTo(/^A job="drop"/);
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    check("keyboard: opened", page.url().endsWith("/group/job/drop/instance/a"), page.url());
    const button = page.getByRole("button", { name: "Delete the group" });
    check("keyboard: nothing is deleted without being asked for", !(await button.isVisible()));
    await tabTo(/^SUMMARY Delete this group/);
    await page.keyboard.press("Enter");
    check("keyboard: the key is shown", (await text(page, "details[open]")).includes('instance="a"') && (await button.isVisible()));
    await sound(page, "delete");
    await shoot(page, "delete");
    await tabTo(/^BUTTON Delete the group/);
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    check("keyboard: deleted, and back at the list", page.url() === `${gateway.url}/` && /^1 group\b/.test(await text(page, "h1")), page.url());
    // What another site could make a browser send has no token.
    const forged = await send(`${gateway.url}/group/job/keep`, { body: "token=00", headers: { "Content-Type": "application/x-www-form-urlencoded" } });
    check("delete: not without the token", forged.status === 403, `${forged.status} ${forged.text}`);
    gateway.stop();
}

// The list, a search, a group, its deletion, and the way back, wherever the gateway is reached.
async function rounds(what, gateway, base, options) {
    await send(`${gateway.pushes ?? base}/metrics/job/a%20b/path@base64/${Buffer.from("/x/y").toString("base64url")}`, { body: "m 1\n", headers: options.headers ?? {} });
    const page = await openPage(browser, new URL(base).origin, options.context);
    await page.goto(`${base}/`);
    check(`${what}: the list`, /^1 group\b/.test(await text(page, "h1")), await text(page));
    await sound(page, what);
    await page.getByRole("searchbox").fill("path=/x/y");
    await page.getByRole("button", { name: "Search" }).click();
    check(`${what}: searched`, page.url().startsWith(`${base}/?search=`) && /^1 group\b/.test(await text(page, "h1")), page.url());
    for (const link of ["Metrics", "JSON"]) {
        await page.getByRole("link", { name: link, exact: true }).click();
        check(`${what}: ${link}`, page.url().startsWith(`${base}/`) && (await text(page)).includes("a b"), page.url());
        await page.goBack();
    }
    await page.locator("main td > a").first().click();
    check(`${what}: the group`, page.url().startsWith(`${base}/group/job/`) && (await text(page, "h1")).includes('path="/x/y"'), page.url());
    await page.getByRole("link", { name: "Floodway" }).click();
    check(`${what}: the way back`, page.url().split("#")[0] === `${base}/`, page.url());
    await page.locator("main td > a").first().click();
    await page.getByText("Delete this group…").click();
    await page.getByRole("button", { name: "Delete the group" }).click();
    check(`${what}: deleted`, page.url() === `${base}/` && /^0 groups/.test(await text(page, "h1")), page.url());
    await sound(page, `${what}, after the deletion`);
    gateway.stop();
}

async function prefix() {
    const gateway = await start(binary, ["--web.route-prefix=/pre/fix"]);
    await rounds("route prefix", gateway, `${gateway.url}/pre/fix`, {});
}

async function proxied() {
    const gateway = await start(binary, ["--web.external-url=http://metrics.example/push", "--web.route-prefix=/"]);
    const front = await proxy(gateway, "/push");
    await rounds("behind a proxy", gateway, front.url, {});
    front.stop();
}

async function closed() {
    execFileSync("openssl", ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2", "-subj",
        "/CN=127.0.0.1", "-keyout", join(scratch, "key.pem"), "-out", join(scratch, "cert.pem")], { stdio: "ignore" });
    // The password of alice is opensesame, as in tests/clients/lib.sh.
    writeFileSync(join(scratch, "web.yml"),
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n" +
        "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi}\n");
    const gateway = await start(binary, [`--web.config.file=${join(scratch, "web.yml")}`], "https");
    const answer = await send(gateway.url, { method: "GET" });
    check("basic auth: strangers see nothing", answer.status === 401 && !answer.text.includes("roup"), answer.text);
    await rounds("TLS and basic auth", gateway, gateway.url, {
        headers: { Authorization: `Basic ${Buffer.from("alice:opensesame").toString("base64")}` },
        context: { ignoreHTTPSErrors: true, httpCredentials: { username: "alice", password: "opensesame" } },
    });
}

// All of it reads the same where scripts are switched off.
async function withoutScripts() {
    const gateway = await start(binary);
    await push(gateway, "/job/a", EVERY_TYPE);
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(gateway.url);
    check("without scripts: the list", (await page.content()).includes('job=&quot;a&quot;') || (await page.content()).includes('job="a"'));
    await page.locator("main td > a").first().click();
    check("without scripts: the group", (await page.content()).includes("batch_step_seconds"));
    await page.locator("details > summary").first().click();
    await page.getByRole("button", { name: "Delete the group" }).click();
    check("without scripts: deleted", page.url() === `${gateway.url}/`, page.url());
    gateway.stop();
}

async function many() {
    const gateway = await start(binary);
    await pushMany(gateway.port, MANY, (at) => `/metrics/job/batch${at % 1000}/instance/host${at}`,
        (at) => `rows_total ${at}\nlast_success_seconds 1.7e9\n`);
    const page = await openPage(browser, gateway.url);
    const cost = async (what, work) => {
        // Whatever the pushes left to do is done, and not the page's.
        for (let before = -1; before !== gateway.cpu(); await new Promise((wake) => setTimeout(wake, 300))) before = gateway.cpu();
        const before = gateway.cpu();
        await work();
        const took = gateway.cpu() - before;
        console.log(`${what} of ${MANY} groups: ${took} ms of server CPU`);
        if (binary.includes("release")) check(`many: ${what} takes less than ${PAGE_CPU_MS} ms of CPU`, took < PAGE_CPU_MS, `${took} ms`);
    };
    await cost("first view", () => page.goto(gateway.url));
    check("many: the heading", (await text(page, "h1")).startsWith(`${MANY} groups`), await text(page, "h1"));
    check("many: a page of them", /1–50 of 100000/.test(await text(page)));
    await sound(page, "many");
    await shoot(page, "many");
    await page.getByRole("searchbox").fill("host9999");
    await cost("search", async () => {
        await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    });
    check("many: found", /11 match/.test(await text(page)), (await text(page)).slice(0, 300));
    await page.goto(gateway.url);
    for (const order of ["failed", "oldest", "newest", "largest"]) {
        await page.getByLabel("Order").selectOption(order);
        await cost(`order by ${order}`, async () => {
            await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: "Search" }).click()]);
        });
    }
    await page.getByRole("link", { name: "Next →" }).click();
    check("many: the next page", /51–100 of 100000/.test(await text(page)));
    await cost("last page", () => page.goto(`${gateway.url}/?page=${MANY / 50}`));
    check("many: the last page", /99951–100000 of 100000/.test(await text(page)));
    check("many: and nothing after it", (await page.getByRole("link", { name: "Next →" }).count()) === 0);
    await page.goto(`${gateway.url}/?page=99999`);
    check("many: past the end", (await text(page, "h1")).startsWith(`${MANY} groups`));
    await sound(page, "past the end");
    gateway.stop();
}

try {
    for (const part of [empty, five, types, hostile, plugins, keyboard, prefix, proxied, closed, withoutScripts, many]) {
        const began = Date.now();
        try {
            await part();
        } catch (error) {
            check(part.name, false, error.stack);
        }
        console.log(`${part.name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
    }
} finally {
    await browser.close();
    stopAll();
    rmSync(scratch, { recursive: true });
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exit(tally.failed === 0 ? 0 : 1);

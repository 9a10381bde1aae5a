// node schema.js SCHEMA DASHBOARD: whether the dashboard is valid, and what is wrong with it.

const { readFileSync } = require("node:fs");
const Ajv = require("ajv");

const [schema, dashboard] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
// Types hold more keywords than the validator needs to know.
const validate = new Ajv({ strict: false, allErrors: true }).compile(schema);
// What the types call a panel is one of several shapes: each is held against its own, so that a fault is named.
const parts = [["dashboard", "Dashboard", { ...dashboard, panels: [] }],
    ...dashboard.panels.map((panel) => [`panel "${panel.title}"`, panel.type === "row" ? "RowPanel" : "Panel", panel])];
const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema(schema, "grafana");
let failed = 0;
for (const [name, type, part] of parts) {
    const holds = ajv.getSchema(`grafana#/definitions/${type}`);
    if (!holds(part)) {
        failed++;
        for (const fault of holds.errors.slice(0, 5)) console.log(`${name}: FAILED, ${fault.instancePath} ${fault.message} ${JSON.stringify(fault.params)}`);
    }
}
if (!validate(dashboard) && failed === 0) {
    failed++;
    console.log(`dashboard: FAILED, ${JSON.stringify(validate.errors.slice(0, 3))}`);
}
const ids = dashboard.panels.map((panel) => panel.id);
if (new Set(ids).size !== ids.length) failed++, console.log("dashboard: FAILED, two panels have one id");
// Panels that lie on one another are drawn in one heap.
for (const [at, { gridPos: a, title }] of dashboard.panels.entries()) {
    for (const { gridPos: b, title: other } of dashboard.panels.slice(at + 1)) {
        if (a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h) {
            failed++;
            console.log(`dashboard: FAILED, ${title} and ${other} overlap`);
        }
    }
}
console.log(`schema: ${parts.length - failed} of ${parts.length} parts valid`);
process.exit(failed === 0 ? 0 : 1);

// Pushes the shared registry with npm's prom-client: node_client.js URL STEP [gzip]
'use strict';
const client = require('prom-client');

const [url, step, coding] = process.argv.slice(2);
const registry = new client.Registry();
const registers = [registry];
const options = coding === 'gzip' ? { headers: { 'Content-Encoding': 'gzip' } } : {};
const gateway = new client.Pushgateway(url, options, registry);
const params = { jobName: 'node', groupings: { instance: 'i' } };

async function main() {
  if (step === 'push') {
    const jobs = new client.Counter({ name: 'jobs_total', help: 'Jobs done.', labelNames: ['kind'], registers });
    jobs.inc({ kind: 'a b' }, 3);
    new client.Gauge({ name: 'load', help: 'How busy.', registers }).set(0.5);
    const latency = new client.Histogram({ name: 'latency_seconds', help: 'How long.', buckets: [0.5, 1], registers });
    [0.25, 0.75, 2].forEach((seconds) => latency.observe(seconds));
    await gateway.push(params);
  } else if (step === 'add') {
    new client.Gauge({ name: 'added', help: 'Added later.', registers }).set(7);
    await gateway.pushAdd(params);
  } else {
    await gateway.delete(params);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

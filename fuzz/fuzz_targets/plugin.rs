//! Any order of calls to the plugin API over any body: no panic, a refused push changes nothing, what is
//! stored can be shown, and the machine works afterwards.
//!
//! The plugin is always the same. It holds a table of calls, and each hook makes those that the job of the
//! push spells, two hexadecimal digits each. Handles and iterators are kept from hook to hook and from push
//! to push, so that stale ones are used in every place.

#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use floodway::clock::Now;
use floodway::gateway::{Gateway, Mode, Settings};
use floodway::model::{GroupingKey, NameRules, RequestFacts};
use floodway::plugin::{Options, Plugins};
use floodway::store::view::GroupView;
use floodway::telemetry::{OwnValue, Telemetry};
use libfuzzer_sys::fuzz_target;

const PLUGIN: &str = r#"
local kept, names = {}, { 'a', 'b', 'x', 'le', 'job', 'instance', '__name__', '9', '', '__tmp', 'quantile' }
local re, rules, sel = gate.re('([a-z])([0-9]*)'), gate.relabel({
  { source_labels = { 'x' }, target_label = 'y' }, { regex = 'b', action = 'labeldrop' } }), gate.selector('{x!=""}')
local counter = gate.counter { name = 'c', labels = { 'n' } }
local level = gate.gauge { name = 'g' }
local sizes = gate.histogram { name = 'h', labels = { 'n' }, buckets = { 1, 10 } }
local dict, bucket = gate.shared { name = 's', max_keys = 8 }, gate.bucket { name = 'b', rate = 10, burst = 3 }
local distinct, nets = gate.distinct { name = 'd', max_keys = 8 }, gate.cidr({ '10.0.0.0/8', 'fd00::/8' })
local at = 0
local function name() at = at % #names + 1 return names[at] end
local function any() return kept.sample or kept.walked or kept.series end
local calls = {
  function() return any():get(name()) end,
  function() return any():is(name(), name()) end,
  function() return any():has(name()) end,
  function() any():set(name(), name()) end,
  function() any():set(name(), 0.1) end,
  function() any():set(name(), nil) end,
  function() any():rename(name(), name()) end,
  function() any():sub(name(), re, '$2$1') end,
  function() return any():match('{a="b"}') end,
  function() return any():match(sel) end,
  function() for k, v in any():each() do any():set(k, v .. k) end end,
  function() kept.pairs = any():each() end,
  function() return kept.pairs() end,
  function() any():keep({ name(), name() }) end,
  function() return any().n_labels, any().type, any().help, any().native end,
  function() any().value = any().value * 2 end,
  function() any().value = 0 / 0 end,
  function() return any().count, any().sum, any():buckets(), any():quantiles() end,
  function() any():scale(0.5) end,
  function() any():scale(0) end,
  function() any():drop() end,
  function() any().name = name() end,
  function() any().name = 'moved_' .. name() end,
  function() any().labels[name()] = name() end,
  function() return any().labels[name()], tostring(any()), tostring(any().labels) end,
  function() kept.walked = kept.samples() end,
  function() kept.samples = kept.push:samples() end,
  function() kept.samples = kept.push:samples('{x="a"}') end,
  function() kept.samples = kept.family:samples() end,
  function() kept.families = kept.push:families() end,
  function() kept.family = kept.families() end,
  function() for s in kept.push:samples() do s:set('x', s.name) end end,
  function() for f in kept.push:families() do f.help = f.name end end,
  function() kept.family.name = name() end,
  function() kept.family.name = 'family_' .. name() end,
  function() kept.family.type = 'gauge' end,
  function() kept.family.type = 'histogram' end,
  function() kept.family.help = name() end,
  function() return kept.family.n_samples, kept.family.unit, kept.family:lint(), kept.family:match(sel) end,
  function() kept.family:scale(3) end,
  function() kept.family = kept.family:copy('copy_' .. name()) end,
  function() kept.family:drop() end,
  function() return kept.push:count(), kept.push:count(sel), kept.push.n_series, kept.push.n_families end,
  function() kept.push:set_label(name(), name()) end,
  function() kept.push:del_label(name(), sel) end,
  function() kept.push:rename_label(name(), name()) end,
  function() kept.push:drop('{x="a"}') end,
  function() kept.push:drop(name()) end,
  function() kept.push:relabel(rules) end,
  function() kept.push:relabel({ { action = 'labelmap', regex = '(.*)', replacement = '${1}_' } }) end,
  function() kept.push:relabel({ { source_labels = { 'le' }, regex = '1', action = 'drop' } }) end,
  function() kept.push:relabel({ { source_labels = { '__name__' }, target_label = '__name__', replacement = 'n' } }) end,
  function() kept.push:add { name = name(), value = 1 } end,
  function() kept.push:add { name = 'added', type = 'counter', help = 'h', labels = { x = name() }, value = 1 } end,
  function() return kept.push:facts().group_series end,
  function() kept.push.group[name()] = name() end,
  function() kept.push.group[name()] = nil end,
  function() for k, v in kept.push.group:each() do kept[k] = v end end,
  function() return kept.push.job, kept.push.id, kept.push.format, kept.push.time, kept.push.bytes end,
  function() kept.push.ctx.x = (kept.push.ctx.x or 0) + 1 end,
  function() return kept.push:header('x') end,
  function() return kept.push[name()] end,
  function() kept.push[name()] = 1 end,
  function() counter:inc(1, name()) end,
  function() return re:test(name()), re:find(name()), re:match(name()), re:gsub(name(), '$1') end,
  function() return gate.hash(name()), gate.entropy(name()), gate.luhn(name()), gate.sanitize(name()) end,
  function() gate.log.debug(name(), { x = name() }) end,
  function() error(name()) end,
  function() error({}) end,
  function() return string.rep('x', 5000000) end,
  function() for i = 1, 3000 do kept.push:add { name = 'many', labels = { i = i }, value = i } end end,
  function() kept.fails = true end,
  function() kept.result = gate.DROP end,
  function() kept.result = gate.reject(400, name()) end,
  function() kept.result = gate.discard() end,
  function() kept.result = 5 end,
  function() level:set(at) level:add(1, name()) end,
  function() sizes:with(name()):observe(at) counter:with(name()):inc(-1) end,
  function() dict:set(name(), any():get(name())) dict:incr(name(), 1, 0) dict:max(name(), at) end,
  function() dict:cas(name(), nil, name()) dict:expire(name(), 0.001) dict:delete(name()) end,
  function() return dict:get(name()), dict:ttl(name()), dict:len(), dict:scan(0, 3) end,
  function() return bucket:take(name()), bucket:take(name(), 5), bucket:peek(name()) end,
  function() return distinct:add(name(), tostring(at)), distinct:count(name()) end,
  function() return nets:has(name()), nets:has('10.1.2.3'), gate.ip('::ffff:10.0.0.1'), gate.ip(name()) end,
  function() return gate.sha256(name()), gate.hmac(name(), name()), gate.md5mod(name(), at) end,
  function() return gate.split(name(), ''), gate.trim(name()), gate.fmt(0 / 0), gate.valid_metric(name()) end,
  function() kept.push.ttl = at * 60 end,
  function() kept.push.ttl = nil return kept.push.ttl, kept.push.dry end,
  function() return any().timestamp, any().null, any().unit, kept.push.group_received[name()] end,
  function() kept.result = gate.KEEP end,
  function() return gate.selector(name()), gate.re(name() .. '('), gate.relabel({ { action = name() } }) end,
  function() setmetatable(any(), {}) end,
  function() getmetatable(any()).__index = nil end,
  function() return table.clone(any()), rawget(any(), 'value'), #any(), any() == kept.series, any() < kept.series end,
  function() return gate.every(1, print), gate.shared { name = name() }, gate.counter { name = name() } end,
}
local function run(program)
  kept.result, kept.fails = nil, nil
  for pair in program:gmatch('%x%x') do
    local call = calls[tonumber(pair, 16) % #calls + 1]
    if kept.fails then call() else pcall(call) end
  end
  return kept.result
end
local function program(push) return push.job:match('^f(%x+)') end
return {
  api = 1, facts = true, on_error = 'reject',
  on_request = function(req) kept.push = req local p = program(req) if p then return run(p) end end,
  on_push = function(push)
    local p = program(push)
    if p then kept.push = push return run(p) end
    push:set_label('seen', 'yes')
  end,
  on_family = function(f, push) local p = program(push) if p then kept.family = f return run(p) end end,
  on_series = function(s)
    local p = (s:get('job') or ''):match('^f(%x+)')
    if p then kept.series = s kept.sample = s return run(p) end
  end,
  on_sample = function(s, push) local p = program(push) if p then kept.sample = s return run(p) end end,
  on_commit = function(push) local p = program(push) if p then return run(p) end end,
  on_result = function(res) return res.status, res.n_series end,
}
"#;

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("floodway-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("p.lua"), PLUGIN).expect("a file");
        // Coverage slows the host down, and the machine may be busy with other things.
        let settings = "plugins: [{ name: p, budget: { time: 40ms } }]";
        std::fs::write(dir.join("plugins.yml"), settings).expect("a file");
        let options = Options {
            dir: Some(dir.clone()),
            config: None,
            allow_broken: false,
            time_max: Duration::from_millis(50),
            names: NameRules::Legacy,
            workers: 1,
        };
        let plugins = Plugins::start(options).unwrap_or_else(|problems| panic!("{}", problems[0]));
        std::fs::remove_dir_all(dir).expect("the folder made above");
        let gateway = Gateway::new(Settings::default(), Telemetry::new(1).into()).expect("a thread");
        gateway.with_plugins(plugins)
    })
}

/// Everything stored, whose text makes every name, label and value be read.
fn stored(gateway: &Gateway) -> Vec<String> {
    let series = |group: &GroupView| -> Vec<String> {
        let families = group.families();
        let lines = families.iter().flat_map(|family| {
            let name = family.name;
            family.series().map(move |series| format!("{name} {:?} {:?}", series.labels, series.value))
        });
        lines.collect()
    };
    gateway.groups().iter().flat_map(series).collect()
}

/// Errors of the host itself, which no script may cause.
fn internal_errors(gateway: &Gateway) -> f64 {
    let families = gateway.telemetry().families();
    let errors = families.iter().filter(|family| family.name == "floodway_plugin_errors_total");
    let internal = errors
        .flat_map(|family| &family.series)
        .filter(|series| series.labels.iter().any(|label| label.1 == "E_INTERNAL"));
    internal.map(|series| if let OwnValue::Plain(count) = series.value { count } else { 0.0 }).sum()
}

fuzz_target!(|input: &[u8]| {
    let Some((&length, rest)) = input.split_first() else { return };
    let (program, body) = rest.split_at(rest.len().min(usize::from(length % 32)));
    let job: String = std::iter::once("f".to_owned()).chain(program.iter().map(|byte| format!("{byte:02x}"))).collect();
    let gateway = gateway();
    let push = |job: &str, body: Bytes| {
        let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
        gateway.push_with(Mode::ReplaceGroup, &GroupingKey::new(job, []), facts, &body, Now::read())
    };
    let before = stored(gateway);
    if push(&job, Bytes::copy_from_slice(body)).is_err() {
        assert_eq!(stored(gateway), before);
    }
    push("sane", "sane 1\n".into()).expect("the machine works afterwards");
    assert!(stored(gateway).iter().any(|line| line.starts_with("sane ") && line.contains("seen")));
    assert_eq!(internal_errors(gateway), 0.0);
    gateway.wipe().expect("groups are in memory only");
});

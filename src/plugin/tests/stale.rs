//! Handles that outlive their call: every member says so, and nothing else happens.

use super::Rig;

/// Every use of a family, a sample, its labels and the iterators, each to be E_STALE once the call has
/// ended that the handle was for.
const USES: &[&str] = &[
    "kept.family.name",
    "kept.family.type",
    "kept.family.help",
    "kept.family.unit",
    "kept.family.n_samples",
    "kept.family:samples()",
    "kept.family:match('{}')",
    "kept.family:lint()",
    "kept.family:scale(2)",
    "kept.family:copy('b')",
    "kept.family:drop()",
    "tostring(kept.family)",
    "set(kept.family, 'name', 'x')",
    "set(kept.family, 'type', 'gauge')",
    "set(kept.family, 'help', 'x')",
    "kept.copy.name",
    "kept.copy:drop()",
    "kept.walked_family.name",
    "kept.sample.name",
    "kept.sample.type",
    "kept.sample.help",
    "kept.sample.labels",
    "kept.sample.n_labels",
    "kept.sample.value",
    "kept.sample.count",
    "kept.sample.sum",
    "kept.sample.native",
    "kept.sample:get('x')",
    "kept.sample:is('x', 'y')",
    "kept.sample:has('x')",
    "kept.sample:set('x', 'y')",
    "kept.sample:rename('x', 'y')",
    "kept.sample:sub('x', re, 'y')",
    "kept.sample:match('{}')",
    "kept.sample:each()",
    "kept.sample:keep({ 'x' })",
    "kept.sample:buckets()",
    "kept.sample:quantiles()",
    "kept.sample:scale(2)",
    "kept.sample:drop()",
    "tostring(kept.sample)",
    "set(kept.sample, 'name', 'x')",
    "set(kept.sample, 'value', 1)",
    "kept.labels.x",
    "set(kept.labels, 'x', 'y')",
    "kept.walked.name",
    "kept.walked:drop()",
    "kept.walked.labels.x",
    "kept.samples()",
    "kept.families()",
    "kept.members()",
];

#[test]
fn every_member_of_a_kept_handle_is_stale() {
    let uses: Vec<String> =
        USES.iter().map(|r#use| format!("[{use:?}] = function() return {use} end")).collect();
    let plugin = format!(
        "return {{ api = 1, init = function()
           local kept, re = {{}}, gate.re('x')
           local function set(handle, key, value) handle[key] = value end
           local uses = {{ {} }}
           local function try(push)
             local stale, others = 0, {{}}
             for text, use in pairs(uses) do
               local ok, e = pcall(use)
               local is_stale = not ok and tostring(e):sub(1, 8) == 'E_STALE:'
               if is_stale then stale = stale + 1 else others[#others + 1] = text .. ' gives ' .. tostring(e) end
             end
             push.ctx.tried = stale .. ' are stale ' .. table.concat(others, ', ')
           end
           return {{
             on_push = function(push)
               if kept.sample then try(push) return end
               kept.samples, kept.families = push:samples(), push:families()
               kept.walked, kept.walked_family = kept.samples(), kept.families()
             end,
             on_family = function(f)
               if kept.family then return end
               kept.family, kept.copy, kept.members = f, f:copy('copy'), f:samples()
             end,
             on_sample = function(s) kept.sample, kept.labels = s, s.labels end,
             on_commit = function(push)
               if push.ctx.tried then return gate.reject(499, push.ctx.tried) end
             end,
           }}
         end }}",
        uses.join(",\n")
    );
    // Dozens of errors with their places take long where each access is checked.
    let settings = "plugins: [{ name: p, budget: { time: 50ms } }]";
    let rig = Rig::new(&[("plugins.yml", settings), ("p.lua", &plugin)]);
    rig.push("a{x=\"1\"} 1\nb 2\n").unwrap();
    let before = rig.stored();
    let refusal = rig.push("c 3\n").unwrap_err();
    assert_eq!(refusal.text, format!("push rejected by plugin p: {} are stale ", USES.len()));
    assert_eq!(rig.stored(), before);
}

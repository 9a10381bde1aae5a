//! What each hook sees and may do.

use std::sync::Arc;

use bytes::Bytes;

use super::{Rig, header};
use crate::clock::Now;
use crate::gateway::{Gateway, Mode, Settings};
use crate::model::{GroupingKey, Reason, RequestFacts};
use crate::store::usage::StoreLimits;
use crate::telemetry::Telemetry;

#[test]
fn the_request_can_be_read_refused_and_moved() {
    let rig = Rig::of(
        "on_request = function(req)
           if req.job == 'stranger' then
             return gate.reject(401, 'who are\\nyou', { www_authenticate = 'Basic', retry_after = 1.2, code = 'auth' })
           end
           if req.job == 'void' then return gate.discard('not now') end
           assert(req.method == 'PUT' and req.user == nil and req.tls == false and req.ttl == nil)
           assert(req.group_received.tenant == nil)
           req.group.tenant = 'blue'
           req.group.zone = nil
           local names = {}
           for k, v in req.group:each() do names[#names + 1] = k .. '=' .. v end
           assert(table.concat(names, ',') == 'job=j,tenant=blue', table.concat(names, ','))
           req.ctx.count = 1
         end,
         on_push = function(push) assert(push.ctx.count == 1 and push.group.tenant == 'blue') end",
    );
    let refusal = rig.push_to(&GroupingKey::new("stranger", []), "a 1\n").unwrap_err();
    assert_eq!(refusal.reason, Reason::Plugin { status: 401, mark_failed: false });
    assert_eq!(refusal.text, "push rejected by plugin p: who are you");
    assert_eq!((header(&refusal, "X-Push-Plugin"), header(&refusal, "X-Push-Code")), ("p", "auth"));
    assert_eq!((header(&refusal, "Retry-After"), header(&refusal, "WWW-Authenticate")), ("2", "Basic"));
    assert_eq!(header(&refusal, "X-Push-Id").len(), 16);
    assert!(!rig.push_to(&GroupingKey::new("void", []), "a 1\n").unwrap().stored);
    assert!(rig.stored().is_empty());
    rig.push_to(&GroupingKey::new("j", [("zone", "x")]), "a{tenant=\"red\"} 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",tenant="blue"} 1"#]);
}

#[test]
fn the_push_can_be_changed_in_bulk() {
    let rig = Rig::of(
        "on_push = function(push)
           assert(push.n_families == 3 and push.n_samples == 4 and push.n_series == 7)
           assert(push.format == 'text' and push.bytes > 10)
           assert(push:count('{x=\"1\"}') == 1 and push:count() == 4)
           assert(push:set_label('l', 5, 'a') == 2)
           assert(push:rename_label('x', 'y') == 2)
           assert(push:del_label('y', '{y=\"2\"}') == 1)
           assert(push:drop('b') == 1)
           push:add { name = 'n', type = 'gauge', help = 'new', labels = { k = 'v' }, value = 1.5 }
           assert(push:relabel({ { source_labels = { 'k' }, target_label = 'copy' } }) == 0)
           local names = {}
           for f in push:families() do names[#names + 1] = f.name .. ':' .. f.type .. ':' .. f.n_samples end
           assert(table.concat(names, ' ') == 'a:untyped:2 h:histogram:1 n:gauge:1', table.concat(names, ' '))
         end",
    );
    rig.push("a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n")
        .unwrap();
    let stored = rig.stored();
    assert_eq!(stored[0], r#"a{instance="",job="j",l="5",y="1"} 1"#);
    assert_eq!(stored[1], r#"a{instance="",job="j",l="5"} 2"#);
    assert!(stored[2].starts_with(r#"h{instance="",job="j"}"#));
    assert_eq!(stored[3], r#"n{copy="v",instance="",job="j",k="v"} 1.5"#);
}

#[test]
fn families_can_be_renamed_copied_scaled_and_dropped() {
    let rig = Rig::of(
        "on_family = {
           gate.when('gone', function() return gate.DROP end),
           gate.when('t_ms', function(f)
             local old = f:copy('t_old')
             f:scale(0.001)
             f.name = 't_seconds'
             f.help = 'time'
             f.type = 'gauge'
             assert(f.name == 't_seconds' and f.help == 'time' and f.unit == nil and old.name == 't_old')
           end),
           function(f, push)
             assert(f.name ~= 'gone' and f.n_samples == 1 and push.n_families >= 2)
             if f.name == 'no' then return gate.reject(422, f.name) end
             if f.name == 'zero' then f:drop() return end
             assert(f:match('{job=\"j\"}') and not f:match('{job=\"k\"}'))
             for s in f:samples() do assert(s.name == f.name and s.labels.job == 'j') end
           end,
         }",
    );
    rig.push("gone 1\nt_ms 1500\nzero 1\nkept 1\n").unwrap();
    assert_eq!(
        rig.stored(),
        [
            r#"kept{instance="",job="j"} 1"#,
            r#"t_old{instance="",job="j"} 1500"#,
            r#"t_seconds{instance="",job="j"} 1.5"#
        ]
    );
    let refusal = rig.push("no 1\nkept 1\n").unwrap_err();
    assert_eq!(refusal.text, "push rejected by plugin p: no");
}

#[test]
fn samples_can_be_read_and_changed() {
    let rig = Rig::of(
        "on_sample = function(s, push)
           if s.type == 'histogram' then
             assert(s.value == nil and s.count == 3 and s.sum == 4.5 and s.native == false)
             local b = s:buckets()
             assert(#b == 2 and b[1].le == 1 and b[1].count == 2 and b[2].le == math.huge)
             assert(s:quantiles() == nil)
             return
           end
           if s:is('env', 'dev') then return gate.DROP end
           if s:has('drop') then s:drop() return end
           assert(s.count == nil and s.timestamp == nil and s.null == false and s.n_labels >= 2)
           assert(s:get('job') == 'j' and s.labels.job == 'j' and s:get('none') == nil)
           local all = {}
           for k, v in s:each() do all[#all + 1] = k .. v s:set(k == 'job' and 'x' or k, 'z') end
           s.labels.path = s.labels.path
           s:set('num', 0.25)
           s:rename('old', 'new')
           assert(s:keep({ 'num', 'new', 'path' }))
           s.value = s.value * 2
           s.name = s.name .. '_x'
           assert(s:match('{num=\"0.25\"}'))
           local ok, e = pcall(function() s.labels.job = 'k' end)
           assert(not ok and e:sub(1, 8) == 'E_VALUE:', e)
           local ok, e = pcall(function() s.labels.__name__ = 'k' end)
           assert(not ok and e:sub(1, 7) == 'E_NAME:', e)
           local ok, e = pcall(function() return s.nothing end)
           assert(not ok and e:sub(1, 8) == 'E_FIELD:', e)
         end",
    );
    rig.push(
        "a{env=\"dev\"} 1\na{drop=\"1\"} 2\na{old=\"o\",other=\"1\"} 3\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n\
         h_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n",
    )
    .unwrap();
    let stored = rig.stored();
    assert_eq!(stored[0], r#"a_x{instance="",job="j",new="z",num="0.25"} 6"#);
    assert_eq!(stored.len(), 2);
}

#[test]
fn patterns_replace_inside_labels() {
    let rig = Rig::of(
        "init = function()
           local digits, pair = gate.re('[0-9]+'), gate.re('(\\\\w+)-(\\\\w+)')
           return { on_sample = function(s)
             assert(s:sub('path', digits, 'N') == true and s:sub('path', digits, 'N') == false)
             assert(s:sub('none', digits, 'N') == false)
             assert(digits:test('a1') and not digits:test('a'))
             local from, to = digits:find('ab12c')
             assert(from == 3 and to == 4)
             local a, b = pair:match('x-y')
             assert(a == 'x' and b == 'y' and digits:match('7') == '7')
             local text, n = pair:gsub('a-b c-d', '$2-$1', 1)
             assert(text == 'b-a c-d' and n == 1)
           end }
         end",
    );
    rig.push("a{path=\"/u/12/x/7\"} 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",path="/u/N/x/N"} 1"#]);
}

#[test]
fn series_hooks_run_once_per_distinct_series_and_must_be_pure() {
    let rig = Rig::of(
        "init = function()
           local calls = gate.counter { name = 'calls' }
           return { on_series = function(s)
             calls:inc()
             if s:has('gone') then return gate.DROP end
             if s.name == 'no' then return gate.reject(400, 'no') end
             s:set('seen', s.name)
             if s.name == 'old' then s.name = 'new' end
             for _, f in ipairs({
               function() return s.value end,
               function() s.value = 1 end,
               function() gate.now() end,
               function() math.random() end,
               function() gate.log.info('x') end,
               function() print('x') end,
             }) do
               assert(not pcall(f))
             end
           end }
         end",
    );
    let calls = || rig.plugins.all_shared()[0].1.metrics()[0].all()[0].1[0].get();
    for round in 1..5 {
        rig.push(&format!("a {round}\nold {round}\nb{{gone=\"1\"}} 1\n")).unwrap();
        assert_eq!(
            rig.stored(),
            [
                format!(r#"a{{instance="",job="j",seen="a"}} {round}"#),
                format!(r#"new{{instance="",job="j",seen="old"}} {round}"#)
            ]
        );
    }
    assert_eq!(calls(), 3.0);
    // Rejects are not remembered, and another group is another series.
    assert!(rig.push("no 1\n").is_err() && rig.push("no 1\n").is_err());
    assert_eq!(calls(), 5.0);
    rig.push_to(&GroupingKey::new("k", []), "a 1\n").unwrap();
    assert_eq!(calls(), 6.0);
}

#[test]
fn visits_follow_the_body_and_skip_what_was_moved() {
    let rig = Rig::of(
        "on_push = function(p) p.ctx.seen = '' end,
         on_family = function(f, p) p.ctx.seen = p.ctx.seen .. '[' .. f.name .. ']' if f.name == 'a' then f.name = 'b' end end,
         on_sample = function(s, p)
           p.ctx.seen = p.ctx.seen .. s.name .. s.value .. ' '
           if s.value == 2 then s.name = 'd' end
           if s.value == 3 then p:add { name = 'e', value = 9 } end
         end,
         on_commit = function(p)
           assert(p.ctx.seen == '[a]b1 b2 [b]b3 [c]c4 ', p.ctx.seen)
           local ok, e = pcall(function() p:set_label('x', 'y') end)
           assert(not ok and e:sub(1, 8) == 'E_PHASE:', e)
         end",
    );
    rig.push("a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\nc 4\n").unwrap();
    assert_eq!(rig.stored().len(), 5);
}

#[test]
fn handles_that_were_kept_are_stale() {
    let rig = Rig::of(
        "init = function()
           local kept, iterator = {}, nil
           return {
             on_family = function(f) kept.family = f kept.copy = kept.copy or f:copy('copy') end,
             on_sample = function(s) kept.sample = s kept.labels = s.labels end,
             on_commit = function(push)
               iterator = push:samples()
               kept.walked = iterator()
               local n = 0
               for f in push:families() do kept.last = f n = n + 1 end
               for _, use in ipairs({
                 function() return kept.family.name end,
                 function() return kept.family:lint() end,
                 function() return kept.copy.name end,
                 function() return kept.sample.name end,
                 function() return kept.sample:get('x') end,
                 function() kept.sample:set('x', 'y') end,
                 function() return kept.labels.x end,
                 function() return tostring(kept.sample) end,
                 function() return kept.last.name end,
               }) do
                 local ok, e = pcall(use)
                 assert(not ok and (e:sub(1, 8) == 'E_STALE:' or e:sub(1, 8) == 'E_PHASE:'), tostring(e))
               end
               assert(kept.walked.name ~= nil)
             end,
             on_result = function()
               local ok, e = pcall(iterator)
               assert(not ok and e:sub(1, 8) == 'E_STALE:', tostring(e))
               assert(not pcall(function() return kept.walked.name end))
               local n = 0
             end,
           }
         end",
    );
    rig.push("a 1\n").unwrap();
    let errors: u64 = rig.plugins.all_shared()[0].1.counts.errors().map(|error| error.1).sum();
    assert_eq!(errors, 0);
    let greedy = Rig::of(
        "on_push = function(p) local all = {} for i = 1, 20 do all[i] = p:samples() all[i]() end end",
    );
    assert_eq!(greedy.code_of("a 1\nb 1\n"), "error");
}

#[test]
fn a_sample_tells_the_timestamp_that_the_push_will_be_refused_for() {
    let rig = Rig::of(
        "on_sample = function(s)
           if s.timestamp then return gate.reject(400, s.name .. ' at ' .. s.timestamp) end
         end",
    );
    let refusal = rig.push("b 1\na 2\nc 1 -5\na{x=\"y\"} 3 1700000000123\n").unwrap_err();
    // Families go in order of their first appearance.
    assert_eq!(refusal.text, "push rejected by plugin p: a at 1700000000123");
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1 7\nh_sum 1 8\nh_count 1 9\n";
    assert_eq!(rig.push(histogram).unwrap_err().text, "push rejected by plugin p: h at 7");
    rig.push("a 1\n").unwrap();
}

#[test]
fn on_result_is_told_the_status_that_is_sent() {
    let rig = Rig::of("on_result = function(res, req) assert(res.status == tonumber(req.path)) end");
    let limits = StoreLimits { groups: 1, ..StoreLimits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let gateway =
        Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap().with_plugins(rig.plugins.clone());
    let push = |job: &str, status: u16, accepted: u16, body: &'static str| {
        let facts =
            RequestFacts { method: "PUT", path: status.to_string(), accepted, ..RequestFacts::default() };
        let key = GroupingKey::new(job, []);
        let _ = gateway.push_with(Mode::ReplaceGroup, &key, facts, &body.into(), Now::read());
        gateway.tell_results();
        let errors: u64 = rig.plugins.all_shared()[0].1.counts.errors().map(|error| error.1).sum();
        errors
    };
    assert_eq!(push("a", 200, 200, "a 1\n"), 0);
    assert_eq!(push("a", 202, 202, "a 1\n"), 0);
    assert_eq!(push("a", 400, 200, "a\n"), 0);
    assert_eq!(push("b", 429, 200, "a 1\n"), 0);
    assert_eq!(push("a", 400, 200, "a 1\n"), 1);
}

#[test]
fn a_failing_plugin_rejects_or_is_undone() {
    let fails = "on_request = function(r) r.group.team = 'x' end,
                 on_push = function(p) p:set_label('half', 'done') p:drop('b') end,
                 on_sample = function(s) s.value = 9 s.name = 'c' error('oops') end";
    let closed = Rig::of(fails);
    let refusal = closed.push("a 1\nb 2\n").unwrap_err();
    assert_eq!(refusal.reason, Reason::Plugin { status: 500, mark_failed: false });
    let id = header(&refusal, "X-Push-Id");
    assert_eq!(
        refusal.text,
        format!("push rejected: plugin p failed (E_RUNTIME); nothing was stored; id {id}")
    );
    assert!(closed.gateway.groups().is_empty());

    let open = Rig::new(&[
        ("a.lua", &format!("return {{ api = 1, on_error = 'pass', {fails} }}")),
        (
            "b.lua",
            "return { api = 1, on_request = function(r) r.group.zone = 'z' end, on_push = function(p) p:set_label('b', '1') end }",
        ),
    ]);
    let passed = open.push("a 1\nb 2\n").unwrap();
    assert_eq!(passed.headers(), [("X-Push-Skipped", "a".to_owned())]);
    assert_eq!(
        open.stored(),
        [r#"a{b="1",instance="",job="j",zone="z"} 1"#, r#"b{b="1",instance="",job="j",zone="z"} 2"#]
    );
}

#[test]
fn selectors_and_settings_decide_where_a_plugin_runs() {
    let rig = Rig::new(&[
        (
            "plugins.yml",
            "plugins:\n- name: one\n  path: mark.lua\n  match: '{job=\"j\"}'\n  config: { with: one }\n\
             - name: two\n  path: mark.lua\n  match: '{job=\"k\"}'\n  config: { with: two }\n\
             - name: off\n  path: mark.lua\n  enabled: false\n  config: { with: three }\n\
             - name: rules\n  metric_relabel_configs:\n  - { source_labels: [job], target_label: from, replacement: 'x$1' }\n\
             \x20 group_relabel_configs:\n  - { source_labels: [job], regex: k, target_label: zone, replacement: z }\n\
             - name: pasted\n  use: bundled:relabel\n  config: { only: '{job=\"k\"}', rules: [ { regex: from, action: labeldrop } ] }\n",
        ),
        (
            "mark.lua",
            "return { api = 1, config = { with = { type = 'string', required = true } },
               init = function(cfg) return { on_push = function(p) p:set_label('by', cfg.with) end } end }",
        ),
        ("_draft.lua", "return 5"),
    ]);
    rig.push("a 1\n").unwrap();
    rig.push_to(&GroupingKey::new("k", []), "a 1\n").unwrap();
    assert_eq!(
        rig.stored(),
        [r#"a{by="one",from="xj",instance="",job="j"} 1"#, r#"a{by="two",instance="",job="k",zone="z"} 1"#]
    );
}

#[test]
fn a_rejection_marks_a_group_only_if_asked_and_there() {
    let rig = Rig::of(
        "on_commit = function(p)
           if p:count('bad') > 0 then return gate.reject(400, 'no') end
           if p:count('worse') > 0 then return gate.reject(400, 'no', { mark_failed = true }) end
         end",
    );
    assert!(rig.push("worse 1\n").is_err());
    assert!(rig.gateway.groups().is_empty());
    rig.push("good 1\n").unwrap();
    assert!(rig.push("bad 1\n").is_err());
    assert!(rig.gateway.groups()[0].last_push_successful());
    assert!(rig.push("worse 1\n").is_err());
    assert!(!rig.gateway.groups()[0].last_push_successful());
    assert_eq!(rig.stored(), [r#"good{instance="",job="j"} 1"#]);
}

#[test]
fn helpers_help() {
    let rig = Rig::new(&[
        ("dir/init.lua", "local words = require('words')
          assert(require('words') == words and words.one == 1)
          assert(gate.split('a,b,c', ',')[3] == 'c' and #gate.split('a,b,c', ',', 2) == 2)
          assert(gate.trim('  x ') == 'x' and gate.fmt(0.1) == '0.1' and gate.fmt(1000000) == '1000000')
          assert(gate.sanitize('a-b.c:d') == 'a_b_c:d' and gate.sanitize('9:x', 'label') == '_9_x')
          assert(gate.valid_metric('a:b') and not gate.valid_label('a:b'))
          assert(gate.ip('::0001') == '::1' and gate.ip('1.2.3') == nil)
          assert(gate.md5mod('baz', 1000) == 976 and gate.luhn('4111 1111 1111 1111'))
          assert(gate.sha256('abc'):sub(1, 8) == 'ba7816bf' and gate.hash('a') == gate.hash('a'))
          assert(gate.hmac('Jefe', 'what do ya want for nothing?'):sub(1, 8) == '5bdcc146')
          assert(string.find('a.b', '.', 1, true) == 2 and string.find('abc', 'b') == 2 and ('x'):find('y') == nil)
          assert(select('#', ('abc'):find('(b)(c)')) == 4 and ('a'):find('', 10) == nil and ('abc'):find('c', -1) == 3)
          assert(gate.name == 'dir' and gate.api == 1 and gate.workers == 1)
          return { api = 1 }"),
        ("dir/words.lua", "return { one = 1 }"),
    ]);
    rig.push("a 1\n").unwrap();
}

#[test]
fn every_form_of_body_goes_through() {
    let rig = Rig::of("on_push = function(p) p:set_label('form', p.format) end");
    let push = |content_type: &str, body: &str| {
        let facts = RequestFacts {
            method: "PUT",
            content_type: Some(content_type.into()),
            ..RequestFacts::default()
        };
        let key = GroupingKey::new("j", []);
        let body = Bytes::copy_from_slice(body.as_bytes());
        rig.gateway.push_with(Mode::ReplaceGroup, &key, facts, &body, Now::read()).unwrap();
        rig.stored()
    };
    let openmetrics = "application/openmetrics-text; version=1.0.0";
    assert_eq!(push("", "a 1\n"), [r#"a{form="text",instance="",job="j"} 1"#]);
    assert_eq!(
        push(openmetrics, "# TYPE a counter\na_total{x=\"y\"} 2\n# EOF\n"),
        [r#"a_total{form="openmetrics",instance="",job="j",x="y"} 2"#]
    );
}

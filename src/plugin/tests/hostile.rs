//! Scripts that try to stay, to grow or to break out. Each is stopped, and the machine works afterwards.

use std::time::Duration;

use super::Rig;
use crate::plugin::fault::Code;
use crate::plugin::interrupt::thread_cpu_time;

/// A plugin that does `attack` when the metric is called `bad`, and else marks the push.
fn rig(attack: &str) -> Rig {
    Rig::of(&format!(
        "on_push = function(push)
           if push:count('bad') > 0 then {attack} end
           push:set_label('seen', 'yes')
         end"
    ))
}

/// Twice the time budget of a push of one sample.
const TWICE: Duration = Duration::from_micros(2 * 2005);

/// What a machine that is busy with other tests may add: `benches/plugin_cost` holds scripts to twice their
/// budget, here it is enough that none goes on.
const ASIDE: Duration = Duration::from_millis(250);

fn is_stopped(attack: &str, codes: &[&str]) {
    let rig = rig(attack);
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let begun = thread_cpu_time();
        let code = rig.code_of("bad 1\n");
        least = least.min(thread_cpu_time() - begun);
        assert!(codes.contains(&code.as_str()), "{attack} ended with {code}");
        assert!(rig.stored().iter().all(|line| !line.starts_with("bad")), "{attack} was stored");
        rig.push("good 1\n").unwrap_or_else(|refusal| panic!("after {attack}: {refusal}"));
        assert_eq!(rig.stored(), [r#"good{instance="",job="j",seen="yes"} 1"#]);
    }
    // What else runs on the machine can only add to this.
    assert!(least <= TWICE + ASIDE, "{attack} ran for {least:?}");
}

#[test]
fn runaways_are_stopped() {
    for attack in [
        "while true do end",
        "local x = 0 while true do x = x + 1 end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(error, function() while true do end end) end",
        "local f f = function() pcall(f) f() end while true do pcall(f) end",
        "repeat local ok = pcall(string.rep, 'x', 10) until false",
        "for i = 1, 1e15 do end",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do pcall(function() return t[1] end) end",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "string.gsub(string.rep('a', 1000), 'a', function() while true do end end)",
        "while true do for s in push:samples() do end end",
        "while true do push:count() end",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
    ] {
        is_stopped(attack, &["budget"]);
    }
}

#[test]
fn backtracking_patterns_are_stopped() {
    is_stopped(
        "string.find(string.rep('a', 200), string.rep('a?', 200) .. string.rep('a', 200) .. 'b')",
        &["budget", "error"],
    );
    is_stopped("while true do string.match(string.rep('x', 30000), '.-.-.-.-y') end", &["budget"]);
}

#[test]
fn quadratic_library_calls_are_stopped_or_linear() {
    is_stopped(
        "local s, p = string.rep('a', 1200000), string.rep('a', 600000) .. 'b'
         while true do string.find(s, p, 1, true) string.find(s, p) end",
        &["budget"],
    );
    is_stopped("local t = {} while true do table.insert(t, 1, 1) end", &["budget", "memory"]);
    is_stopped(
        "local s = string.rep('x', 1000000) while true do s:upper() s:reverse() end",
        &["budget", "memory"],
    );
    is_stopped("local s = string.rep('9', 1000000) while true do tonumber(s) end", &["budget"]);
    is_stopped("local b = buffer.create(1000000) while true do buffer.fill(b, 0, 1) end", &["budget"]);
    is_stopped("while true do gate.sha256(string.rep('x', 100000)) end", &["budget"]);
    is_stopped(
        "local s = string.rep('x', 2000000) while true do local t = s .. 'y' end",
        &["budget", "memory"],
    );
    is_stopped("local s = string.rep('x', 1000000) while true do s:split('xy') end", &["budget"]);
}

#[test]
fn memory_is_bounded() {
    for attack in [
        "string.rep('x', 1e9)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local s = 'x' while true do s = s:gsub('.', '%0%0') end",
        "buffer.create(1e9)",
        "table.create(1e8, 0)",
    ] {
        is_stopped(attack, &["memory", "budget", "error"]);
    }
    // A script that keeps what it grew is rebuilt.
    let hoarder = Rig::new(&[
        ("plugins.yml", "plugins:\n- name: p\n  budget: { time: 50ms, memory: 2MiB }\n"),
        (
            "p.lua",
            "local kept = {}
             return { api = 1, on_push = function(push)
               if push:count('bad') == 0 then return end
               while true do kept[#kept + 1] = string.rep('x', 100000) .. #kept end
             end }",
        ),
    ]);
    assert_eq!(hoarder.code_of("bad 1\n"), "memory");
    assert_eq!(hoarder.code_of("bad 1\n"), "memory");
    hoarder.push("good 1\n").unwrap();
    let rebuilds = &hoarder.plugins.all_shared()[0].1.counts.rebuilds;
    assert_eq!(rebuilds.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
fn deep_recursion_is_an_error() {
    is_stopped("local function f() return f() end f()", &["error", "budget", "memory"]);
    is_stopped("local function f(n) return 1 + f(n + 1) end f(1)", &["error", "budget", "memory"]);
    is_stopped(
        "local t = {} for i = 1, 300 do t = setmetatable({}, { __index = t }) end return t.x.y",
        &["error"],
    );
    is_stopped("local s = string.rep('(', 5000) string.find('x', s)", &["error"]);
}

#[test]
fn there_is_no_way_out() {
    for attack in [
        "io.open('/etc/passwd')",
        "os.exit()",
        "debug.traceback()",
        "coroutine.create(function() end)",
        "getfenv(0)",
        "setfenv(1, {})",
        "loadstring('return 1')()",
        "newproxy(true)",
        "collectgarbage('stop')",
        "_G.x = 1",
        "undefined_name()",
        "global = 1",
        "string.rep = nil",
        "string.foo = 1",
        "gate.reject = nil",
        "gate.nothing()",
        "getmetatable('').__index = {}",
        "getmetatable(push).__index = nil",
        "setmetatable(string, {})",
        "rawset(string, 'rep', 1)",
        "rawset(gate, 'reject', 1)",
        "table.move({}, 1, 2, 3)",
        "math.randomseed(1)",
        "require('os')",
        "push.nothing = 1",
        "print(push.nothing)",
        "push.ttl = -5",
        "push.group.x = 'y'",
        "error('x')",
        "error({})",
        "error()",
        "local a = push + 1",
        "assert(false)",
    ] {
        is_stopped(attack, &["error"]);
    }
}

#[test]
fn what_a_hook_may_not_return_is_an_error() {
    for attack in [
        "return 5",
        "return 'x'",
        "return {}",
        "return function() end",
        "return false",
        "return gate.DROP",
        "return push",
        "return gate.reject(200, 'x')",
        "return gate.reject(500, 'x')",
        "return gate.reject(404.5, 'x')",
        "return gate.reject('x')",
        "return gate.reject(400, 'x', { nope = 1 })",
        "return gate.reject(400, 'x', { www_authenticate = 'x' })",
    ] {
        is_stopped(attack, &["error"]);
    }
}

#[test]
fn budget_errors_cannot_be_caught_and_others_can() {
    let rig = rig("local ok, e = pcall(function() return push.nothing end)
         assert(not ok and e == 'E_FIELD: a push has no nothing', tostring(e))
         local ok, e = pcall(function() return undefined end)
         assert(not ok and e == 'E_GLOBAL: the environment has no undefined', tostring(e))
         local ok, e = pcall(push.header, push, 'x')
         assert(not ok and e:sub(1, 13) == 'E_UNDECLARED:', tostring(e))
         local ok, e = xpcall(function() push:set_label('9', 'x') end, function(e) return 'seen ' .. e end)
         assert(not ok and e:sub(1, 12) == 'seen E_NAME:', tostring(e))
         pcall(function() while true do end end)");
    assert_eq!(rig.code_of("bad 1\n"), "budget");
}

#[test]
fn a_plugin_that_breaks_its_budget_rests_for_that_job_only() {
    let rig = rig("while true do end");
    let key = |job: &str| crate::model::GroupingKey::new(job, []);
    let code = |job: &str| {
        let refusal = rig.push_to(&key(job), "bad 1\n").unwrap_err();
        super::header(&refusal, "X-Push-Code").to_owned()
    };
    let mut codes: Vec<String> = (0..40).map(|_| code("a")).collect();
    codes.dedup();
    // On a machine so slow that five failures take more than a second, it stays closed.
    assert!(codes == ["budget", "breaker"] || codes == ["budget"], "{codes:?}");
    assert_eq!(code("b"), "budget");
}

#[test]
fn loading_is_bounded_too() {
    let fails = |text: &str, code: Code| {
        let problems = Rig::try_new(&[("p.lua", text)]).map(|_| ()).unwrap_err();
        assert_eq!(problems[0].fault.code, code, "{text}: {}", problems[0]);
    };
    fails("while true do end", Code::Budget);
    fails("return { api = 1, init = function() while true do end end }", Code::Budget);
    fails("local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end", Code::Memory);
    fails("return { api = 1, ", Code::Load);
    fails("\u{1b}Lua", Code::Load);
    fails("return 5", Code::Manifest);
    fails("return {}", Code::Api);
    fails("return { api = 2 }", Code::Api);
    fails("return { api = 1, on_pusj = function() end }", Code::Manifest);
    fails("return { api = 1, on_push = 5 }", Code::Manifest);
    fails("return { api = 1, headers = { 'Authorization' } }", Code::Manifest);
    fails("return { api = 1, on_error = 'maybe' }", Code::Manifest);
    fails("return { api = 1, match = '{' }", Code::Manifest);
    fails("return { api = 1, relabel = { { action = 'nope' } } }", Code::Rule);
    fails("return { api = 1, config = { k = { type = 'nope' } } }", Code::Manifest);
    fails("return { api = 1, config = { k = { type = 'string', required = true } } }", Code::Config);
    fails("return { api = 1, init = function() return 5 end }", Code::Manifest);
    fails("return { api = 1, init = function() return { version = 'x' } end }", Code::Manifest);
    fails("return { api = 1, init = function() error('no') end }", Code::Runtime);
    fails("gate.re('(')", Code::Value);
    fails("require('missing')", Code::Load);
}

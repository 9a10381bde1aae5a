//! The test machinery on plugins of ours: what passes, what fails, and in which words.

use std::fs;
use std::path::Path;

use super::*;
use crate::plugin::bundled;
use crate::plugin::tests::Folder;

fn test(folder: &Folder, filter: Option<&str>) -> Report {
    let filter = filter.map(str::to_owned);
    testing::run(&Plan { filter, ..plan(testing::find(folder.path()).unwrap(), NameRules::Legacy) })
}

#[test]
fn bundled_plugins_pass_their_tests() {
    let found = testing::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")).unwrap();
    for (name, _) in bundled::ALL {
        for kind in [testing::Kind::Lua, testing::Kind::Golden] {
            let is_there =
                |found: &testing::Found| found.kind == kind && found.plugin.as_deref() == Some(name);
            assert!(found.iter().any(is_there), "{name} has no {kind:?} test");
        }
    }
    let report = testing::run(&plan(found, NameRules::Legacy));
    assert!(report.failures.is_empty(), "{}", report.text);
    // The directory holds what is compiled in.
    assert!(report.passed >= 35, "{}", report.text);
}

const UPPER: &str = "return { api = 1, on_series = function(s)
  local env = s:get('env') if env then s:set('env', env:upper()) end end }";

#[test]
fn a_test_may_say_what_is_stored() {
    let folder = Folder::new(&[
        (
            "p.lua",
            "return { api = 1, facts = true, on_commit = function(push)
               local f = push:facts()
               if f.job_series > 100 then
                 return gate.reject(429, f.group_series .. ' ' .. tostring(f.group_age))
               end
             end }",
        ),
        ("breaks.lua", "return { api = 1, on_sample = function(s) s.lables.x = 'y' end }"),
        (
            "p_test.lua",
            "local t = gate.test
t.case('lent', function()
  local r = t.push { body = 'x 1\\n', facts = { job_series = 101, group_series = 7 } }
  t.eq({ r.status, r.reason }, { 429, '7 nil' })
  r = t.push { body = 'x 1\\n', facts = { job_series = 101, group_age = 2.5 } }
  t.eq({ r.status, r.reason }, { 429, '0 2.5' })
  t.eq(t.push({ body = 'x 1\\n' }).status, 200)
end)
t.case('logged', function()
  t.use { 'p', 'breaks' }
  t.eq(t.push({ body = 'x 1\\n' }).status, 200)
end)
t.case('misspelt', function() t.push { facts = { jobs = 1 } } end)
t.case('text', function() t.push { facts = { job_series = 'x' } } end)",
        ),
    ]);
    let report = test(&folder, None);
    let failures: Vec<_> = report.failures.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    let expected = [
        "p_test.lua: logged: p_test.lua:11: expected 200, got 500\nlogged by the last push: breaks: error: E_FIELD: a sample has no lables",
        "p_test.lua: misspelt: E_TEST: t.push: facts have no jobs",
        "p_test.lua: text: E_TEST: t.push: facts.job_series is a number from 0 on",
    ];
    assert_eq!(failures, expected);
}

#[test]
fn what_does_not_hold_is_told_with_file_and_line() {
    let folder = Folder::new(&[
        ("p.lua", UPPER),
        (
            "p_test.lua",
            "local t = gate.test
t.case('text', function()
  t.text(t.push { job = 'a', body = 'x{env=\"dev\"} 1\\ny 2\\n' }, [[
    x{env=\"dev\",instance=\"\",job=\"a\"} 1
    y{instance=\"\",job=\"a\"} 2
  ]])
end)
t.case('eq', function() t.eq({ a = 1 }, { a = 2 }, 'why') end)
t.case('fails', function() t.fails(function() end) end)
t.case('script', function() local x = nil + 1 end)
t.case('member', function() t.push { bdoy = 'x 1' } end)
t.case('loop', function() while true do end end)
t.case('plugin', function() t.use { { name = 'p', on_error = 'maybe' } } t.push {} end)
t.case('fine', function()
  t.advance(60)
  local r = t.push { group = { zone = 'a/b', empty = '' }, client = '10.0.0.1', body = 'x 1\\n' }
  t.eq(r.group, { job = 'test', zone = 'a/b', empty = '' })
  t.eq({ r.stored, r.plugin, r.reason, r.dropped }, { true, nil, nil, 0 })
  t.eq(r:metric('x', { zone = 'a/b' }), 1)
  t.fails(function() t.push { body = 'x\\n', method = 'PUT' } error('E_TEST: no') end, ' E_TEST')
end)",
        ),
    ]);
    let report = test(&folder, None);
    let failures: Vec<_> = report.failures.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    let expected = [
        "p_test.lua: text: p_test.lua:3: the text differs (- expected, + got)\n- x{env=\"dev\",instance=\"\",job=\"a\"} 1\n+ x{env=\"DEV\",instance=\"\",job=\"a\"} 1\n  y{instance=\"\",job=\"a\"} 2",
        "p_test.lua: eq: p_test.lua:8: why: expected {a = 2}, got {a = 1}",
        "p_test.lua: fails: p_test.lua:9: expected a failure",
        "p_test.lua: script: p_test.lua:10: attempt to perform arithmetic (add) on nil and number",
        "p_test.lua: member: E_TEST: t.push takes no bdoy",
        "p_test.lua: loop: the test used up its budget of steps or time",
    ];
    assert_eq!(failures[..6], expected, "{}", report.text);
    assert!(failures[6].contains("maybe"), "{}", failures[6]);
    assert_eq!((failures.len(), report.passed), (7, 1), "{}", report.text);
    assert_eq!(test(&folder, Some("fine")).failures, []);
}

#[test]
fn a_hook_that_is_not_pure_is_found() {
    let folder = Folder::new(&[
        ("p.lua", "local n = 0 return { api = 1, on_series = function(s) n = n + 1 s:set('n', n) end }"),
        (
            "p_test.lua",
            "local t = gate.test
             t.case('twice', function() t.push { body = 'x 1\\n' } t.push { body = 'x 2\\n' } end)",
        ),
        ("golden/p/same.in", "POST /metrics/job/a\n\nx 1\nx 2\n"),
        (
            "golden/p/same.out",
            "HTTP/1.1 200 OK\n\nx{instance=\"\",job=\"a\",n=\"1\"} 1\nx{instance=\"\",job=\"a\",n=\"2\"} 2\n",
        ),
    ]);
    let report = test(&folder, None);
    assert_eq!(report.failures.len(), 2, "{}", report.text);
    assert!(report.failures[1].1.starts_with("push 2 is answered otherwise with the series cache on (+)"));
    assert!(
        report.failures[0].1.starts_with("with the series cache on only: the answer differs"),
        "{}",
        report.text
    );
}

#[test]
fn golden_files_are_compared_and_written() {
    let folder = Folder::new(&[
        ("up/init.lua", UPPER),
        (
            "up/golden/x.in",
            "PUT /metrics/job/a HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nx{env=\"dev\"} 1\n",
        ),
        ("golden/all.in", "POST /metrics/job/a\n\nx{env=\"dev\"} 1\n"),
        ("golden/bad.in", "POST /metrics/job/a\n\nx{\n"),
        ("golden/path.in", "POST /nowhere\n\nx 1\n"),
    ]);
    let report = test(&folder, None);
    assert_eq!((report.passed, report.failures.len()), (0, 4), "{}", report.text);
    let update = Plan { update: true, ..plan(testing::find(folder.path()).unwrap(), NameRules::Legacy) };
    assert_eq!(testing::run(&update).failures, []);
    assert_eq!(test(&folder, None).passed, 4);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let stored = "HTTP/1.1 200 OK\n\nx{env=\"DEV\",instance=\"\",job=\"a\"} 1\n";
    assert_eq!((read("up/golden/x.out").as_str(), read("golden/all.out").as_str()), (stored, stored));
    assert!(
        read("golden/bad.out")
            .starts_with("HTTP/1.1 400 Bad Request\n\ntext format parsing error in line 1: ")
    );
    assert!(read("golden/path.out").starts_with("HTTP/1.1 404 Not Found\n"));
    folder.write("golden/all.out", &stored.replace("DEV", "dev"));
    assert_eq!(test(&folder, Some("all.in")).failures.len(), 1);
}

#[test]
fn tests_must_pass_before_a_reload() {
    let test = |env: &str| {
        format!(
            "local t = gate.test
             t.case('upper', function()
               t.eq(t.push({{ body = 'x{{env=\"dev\"}} 1\\n' }}):metric('x', {{ env = '{env}' }}), 1)
             end)"
        )
    };
    let folder = Folder::new(&[
        ("plugins.yml", "reload_tests: true\nplugins: [{ name: p }]\n"),
        ("p.lua", UPPER),
        ("p_test.lua", &test("dev")),
    ]);
    let plugins =
        Plugins::start_tested(options(Some(folder.path().to_owned()), NameRules::Legacy), before_reload)
            .unwrap();
    let problems = plugins.reload().unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].fault.code, Code::Test);
    assert!(
        problems[0].to_string().contains("p_test.lua: upper: p_test.lua:3: expected 1, got nil"),
        "{}",
        problems[0]
    );
    assert_eq!((plugins.generation().number, plugins.last_reload().0), (1, false));
    folder.write("p_test.lua", &test("DEV"));
    assert_eq!(plugins.reload(), Ok(2));
}

#[test]
fn one_gateway_serves_one_case() {
    let folder = Folder::new(&[(
        "all_test.lua",
        "local t = gate.test
         t.use { 'bundled:units', { name = 'trim', metric_relabel_configs = { { regex = 'tmp', action = 'labeldrop' } } } }
         local function count(r) return #gate.split(gate.trim(r.text), '\\n') end
         t.case('one', function()
           t.push { job = 'a', body = 'x_ms{tmp=\"1\"} 1000\\n' }
           t.text(t.push { job = 'a', body = 'y 2\\n' }, 'x_seconds{instance=\"\",job=\"a\"} 1\\ny{instance=\"\",job=\"a\"} 2')
         end)
         t.case('two', function() t.eq(count(t.push { job = 'a', body = 'y 2\\n' }), 1) end)",
    )]);
    let report = test(&folder, None);
    assert_eq!((report.passed, report.failures), (2, vec![]), "{}", report.text);
}

#[test]
fn a_trace_is_the_last_push_and_its_key() {
    let file = File::read("plugins: [{ name: units, use: 'bundled:units' }]").unwrap();
    let mut bench = Bench::open(options(None, NameRules::Legacy), file).unwrap();
    let request = Request { body: b"x_ms 5\n".to_vec(), ..Request::default() };
    let reply = bench.send(&request);
    assert!(traced(&reply, &[]).contains("group    {job=\"test\"}"));
    assert!(reply.steps > 0);
}

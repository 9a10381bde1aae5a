//! What scripts share between workers, tables, networks and timers, as scripts see them.

use std::sync::Arc;
use std::time::Duration;

use super::{Folder, Rig, header, options, plain_gateway};
use crate::clock::Now;
use crate::gateway::Mode;
use crate::model::{GroupingKey, RequestFacts};
use crate::plugin::fault::Code;
use crate::plugin::{Plugins, figures};

/// A plugin that declares `d`, `b` and `x` and runs `body` on each push.
fn of(body: &str) -> String {
    format!(
        "local d = gate.shared {{ name = 'd', max_keys = 3 }}
         local b = gate.bucket {{ name = 'd', rate = 1, burst = 2 }}
         local x = gate.distinct {{ name = 'd', window = 30, max_keys = 1 }}
         return {{ api = 1, on_push = function(push) {body} end }}"
    )
}

#[test]
fn scripts_keep_what_all_workers_share() {
    let rig = Rig::new(&[(
        "p.lua",
        &of("assert(d:get('a') == nil and d:len() == 0)
         assert(d:set('a', 'x') == true and d:get('a') == 'x' and d:add('a', 1) == false)
         local n, why = d:incr('a')
         assert(n == nil and why == 'type')
         d:delete('a')
         assert(d:incr('a', 2, 10) == 12 and d:incr('a') == 13 and d:max('a', 20) == 20 and d:min('a', 5) == 5)
         assert(d:cas('a', 5, false) and not d:cas('a', 5, 1) and d:get('a') == false)
         assert(d:cas('a', false, nil) and d:get('a') == nil and d:cas('a', nil, 1))
         assert(d:ttl('a') == nil and d:expire('a', 10) and d:ttl('a') == 10 and not d:expire('none', 10))
         assert(d:set('b', 1, 60) and d:ttl('b') == 60 and d:add(3, true))
         n, why = d:set('c', 1)
         assert(n == nil and why == 'full' and d:len() == 3)
         local ok, wait = b:take('k', 2)
         assert(ok and wait == 0 and b:peek('k') == 0)
         ok, wait = b:take('k')
         assert(not ok and wait == 1, wait)
         assert(x:add('k', 'one') == 1 and x:add('k', 'one') == 1 and x:add('k', 'two') == 2)
         n, why = x:add('other', 'one')
         assert(n == nil and why == 'full' and x:count('k') == 2 and x:count('other') == 0)
         for _, bad in { {('k'):rep(257), 1}, {'k', ('v'):rep(4097)}, {'k', {}}, {'k', nil}, {'k', 1, 0}, {'k', 1, -1} } do
           local fine, text = pcall(d.set, d, bad[1], bad[2], bad[3])
           assert(not fine and text:find('E_VALUE'), text)
         end
         for _, call in { function() b:take('k', -1) end, function() b:take('k', 0/0) end } do
           local fine, text = pcall(call)
           assert(not fine and text:find('E_VALUE'), text)
         end
         local fine, text = pcall(d.scan, d)
         assert(not fine and text:find('E_PHASE'), text)"),
    )]);
    rig.push("a 1\n").unwrap();
    let shown = figures(&rig.plugins);
    let read = |family: &str| format!("{:?}", shown.counted[family]);
    assert!(read("floodway_plugin_state_full_total").contains("Plain(2.0)"));
    assert!(read("floodway_plugin_state_keys").contains("Plain(3.0)"));
}

#[test]
fn what_is_shared_has_its_places() {
    for (hook, what) in [
        ("on_series = function(s) d:get('x') end", "reading shared state"),
        ("on_series = function(s) b:take('x') end", "taking from a bucket"),
        ("on_series = function(s) x:add('x', 'y') end", "counting items"),
        ("on_push = function() gate.shared { name = 'late' } end", "gate.shared"),
        ("on_push = function() gate.bucket { name = 'late' } end", "gate.bucket"),
        ("on_push = function() gate.every(1, print) end", "gate.every"),
        ("on_push = function() gate.lookup('x') end", "gate.lookup"),
        ("on_push = function() gate.cidr('::1') end", "gate.cidr"),
    ] {
        let rig = Rig::new(&[(
            "p.lua",
            &of("").replace("on_push = function(push)  end", &format!("on_error = 'reject', {hook}")),
        )]);
        let refusal = rig.push("a 1\n").unwrap_err();
        assert!(refusal.text.contains("E_PHASE"), "{what}: {}", refusal.text);
    }
    // What `init` does would be done once for each worker.
    let problems = Rig::try_new(&[(
        "p.lua",
        "local d = gate.shared { name = 'd' } return { api = 1, init = function() d:incr('x') end }",
    )])
    .err()
    .unwrap();
    assert_eq!(problems[0].fault.code, Code::Phase);
}

#[test]
fn declarations_are_checked() {
    for bad in [
        "gate.shared {}",
        "gate.shared { name = 'a b' }",
        "gate.shared { name = 'a', max_keys = 0 }",
        "gate.shared { name = 'a', max_keys = 1.5 }",
        "gate.shared { name = 'a', max_keys = 1000001 }",
        "gate.shared { name = 'a', ttl = 0 }",
        "gate.shared { name = 'a', rate = 1 }",
        "gate.shared { name = 'a' } gate.shared { name = 'a', ttl = 1 }",
        "gate.bucket { name = 'a', rate = 1 }",
        "gate.bucket { name = 'a', rate = 0, burst = 1 }",
        "gate.bucket { name = 'a', rate = 1e-9, burst = 1e9 }",
        "gate.distinct { name = 'a', window = 0.5 }",
        "gate.distinct { name = 'a', max_keys = 100001 }",
        "gate.cidr('10.0.0.0/33')",
        "gate.cidr { '::1', 'x' }",
        "gate.cidr(5)",
        "gate.every(0.5, print)",
        "gate.every(0/0, print)",
        "gate.every(1, print, { other = true })",
    ] {
        let problems = Rig::try_new(&[("p.lua", &format!("{bad} return {{ api = 1 }}"))]).err();
        let problems = problems.unwrap_or_else(|| panic!("{bad}"));
        assert_eq!(problems[0].fault.code, Code::Value, "{bad}: {}", problems[0]);
    }
    for many in [
        "for i = 1, 17 do gate.shared { name = 'n' .. i } end",
        "for i = 1, 17 do gate.bucket { name = 'n' .. i, rate = 1, burst = 1 } end",
        "for i = 1, 9 do gate.every(1, print) end",
    ] {
        let problems = Rig::try_new(&[("p.lua", &format!("{many} return {{ api = 1 }}"))]).err().unwrap();
        assert_eq!(problems[0].fault.code, Code::Limit, "{many}");
    }
}

#[test]
fn all_workers_see_the_same_and_a_reload_keeps_it() {
    let source = |ttl: &str, more: &str| {
        format!(
            "local d = gate.shared {{ name = 'd'{ttl} }} {more}
             return {{ api = 1, on_push = function(push) push:set_label('n', d:incr('pushes')) end }}"
        )
    };
    let rig = Arc::new(Rig::new(&[("p.lua", &source("", ""))]));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let rig = &rig;
            scope.spawn(move || {
                let key = GroupingKey::new(&format!("j{thread}"), []);
                for _ in 0..50 {
                    rig.push_to(&key, "a 1\n").unwrap();
                }
            });
        }
    });
    let next = || {
        rig.push_to(&GroupingKey::new("last", []), "a 1\n").unwrap();
        let line = rig.stored().into_iter().find(|line| line.contains("job=\"last\"")).unwrap();
        line.split("n=\"").nth(1).unwrap().split('"').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(next(), 201);
    rig.folder.write("p.lua", &source("", "-- otherwise written"));
    rig.plugins.reload().unwrap();
    assert_eq!(next(), 202);
    rig.folder.write("p.lua", &source(", ttl = 60", ""));
    rig.plugins.reload().unwrap();
    assert_eq!(next(), 1, "other options begin anew");
}

/// What the response of a plugin says, which refuses each push with it, to a push that is tried out.
fn tried(rig: &Rig, job: &str) -> String {
    let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
    let key = GroupingKey::new(job, []);
    let body = bytes::Bytes::from_static(b"a 1\n");
    let validation = rig.gateway.validate(Mode::ReplaceGroup, &key, facts, &body, Now::read());
    validation.result.unwrap_err().text
}

#[test]
fn a_push_that_is_tried_out_sees_what_is_shared_and_leaves_it() {
    let rig = Rig::new(&[(
        "p.lua",
        "local d = gate.shared { name = 'd' }
         local same = gate.shared { name = 'd' }
         local b = gate.bucket { name = 'b', rate = 0.001, burst = 4 }
         local x = gate.distinct { name = 'x' }
         local count = gate.counter { name = 'count_total', labels = { 'job' } }
         local level = gate.gauge { name = 'level' }
         local sizes = gate.histogram { name = 'sizes', buckets = { 1 } }
         local calls = 0
         return { api = 1, on_request = function(req)
           calls = calls + 1
           count:inc(1, req.job) level:set(calls) sizes:observe(1)
           if not d:get('first') then d:set('first', req.job) end
           d:incr('n')
           if req.job == 'gone' then d:delete('first') end
           local ok = b:take('k')
           return gate.reject(400, table.concat({ calls, d:get('first') or 'nil', same:get('n'), tostring(ok),
             math.floor(b:peek('k') + 0.5), x:add('k', req.job), d:len() }, ' '))
         end,
         on_result = function() d:incr('results') end }",
    )]);
    let said = |text: String| text.split_once(": ").unwrap().1.trim().to_owned();
    let real = |job: &str| said(rig.push_to(&GroupingKey::new(job, []), "a 1\n").unwrap_err().text);
    let shown = || {
        let shown = figures(&rig.plugins);
        let mut all: Vec<_> =
            shown.counted.iter().map(|(name, values)| format!("{name} {values:?}")).collect();
        all.sort();
        format!("{all:#?} {:#?}", shown.declared)
    };
    assert_eq!(said(tried(&rig, "try")), "1 try 1 true 3 1 2", "nothing is there yet");
    assert_eq!(real("one"), "1 one 1 true 3 1 2");
    assert_eq!(real("two"), "2 one 2 true 2 2 3");
    let before = shown();
    // Each sees what pushes left, none what was tried out before it.
    for _ in 0..2 {
        assert_eq!(said(tried(&rig, "try")), "1 one 3 true 1 3 3");
        assert_eq!(said(tried(&rig, "gone")), "1 nil 3 true 1 3 2");
    }
    assert_eq!(shown(), before);
    assert!(before.contains("count_total") && before.contains("level"), "{before}");
    assert_eq!(real("three"), "3 one 3 true 1 3 3");
    assert_eq!(said(tried(&rig, "try")), "1 one 4 true 0 4 3");
    // After a reload as well.
    rig.folder.write("other.lua", "return { api = 1 }");
    rig.plugins.reload().unwrap();
    assert_eq!(said(tried(&rig, "try")), "1 one 4 true 0 4 3");
}

#[test]
fn in_shadow_a_plugin_has_the_state_that_it_would_have() {
    let source = "local d = gate.shared { name = 'd' }
         local b = gate.bucket { name = 'b', rate = 0.001, burst = 2 }
         return { api = 1, on_push = function(push)
           d:incr('pushes')
           push:set_label('pushes', d:get('pushes'))
           if not b:take('k') then return gate.reject(429, 'after ' .. d:get('pushes')) end
         end }";
    let config = "plugins:\n- { name: p, mode: shadow }\n";
    let rig = Rig::new(&[("p.lua", source), ("plugins.yml", config)]);
    for _ in 0..3 {
        rig.push("a 1\n").unwrap();
    }
    assert_eq!(rig.stored(), ["a{instance=\"\",job=\"j\"} 1"]);
    // Its limit is that of pushes that it saw; once enforced, it goes on from there.
    let told = format!("{:?}", rig.plugins.overview());
    assert!(told.contains("429 policy: after 3"), "{told}");
    rig.folder.write("plugins.yml", "plugins:\n- { name: p }\n");
    rig.plugins.reload().unwrap();
    assert!(rig.push("a 1\n").unwrap_err().text.contains("after 4"));
}

#[test]
fn tables_and_networks_are_looked_up_in() {
    let source = "local teams = gate.lookup('data/teams.csv')
         local zones = gate.lookup('data/teams.csv', { key = 'zone', value = 'host' })
         local names = gate.lookup('names.json')
         local inside = gate.cidr { '10.0.0.0/8', '::1' }
         return { api = 1, on_series = function(s)
           s:set('team', teams:get(s:get('host')))
           assert(zones:get('eu') == 'h1' and not zones:has('h1') and teams:len() == 2 and names:get('a') == 'b')
           assert(inside:has('10.1.2.3') and not inside:has('11.1.2.3') and not inside:has('host'))
         end }";
    let rig = Rig::new(&[
        ("p/init.lua", source),
        ("p/data/teams.csv", "host,team,zone\nh1,red,eu\nh2,blue,us\n"),
        ("p/names.json", "{\"a\":\"b\"}"),
    ]);
    rig.push("a{host=\"h1\"} 1\na{host=\"h3\"} 2\n").unwrap();
    let team = |line: usize| rig.stored()[line].contains("team=\"red\"");
    assert!(team(0) && !team(1), "{:?}", rig.stored());
    // Another table is another plugin, though its source is the same.
    let before = rig.plugins.generation().plugins[0].spec.clone();
    rig.plugins.reload().unwrap();
    assert!(Arc::ptr_eq(&before, &rig.plugins.generation().plugins[0].spec));
    rig.folder.write("p/data/teams.csv", "host,team,zone\nh1,blue,eu\nh3,red,us\n");
    rig.plugins.reload().unwrap();
    rig.push("a{host=\"h1\"} 1\na{host=\"h3\"} 2\n").unwrap();
    assert!(!team(0) && team(1), "{:?}", rig.stored());
    rig.folder.write("p/data/teams.csv", "host\nh1\n");
    assert_eq!(rig.plugins.reload().unwrap_err()[0].fault.code, Code::Load);
}

#[test]
fn tables_lie_in_the_plugins_folder() {
    for (path, code) in [
        ("../secret.csv", Code::Value),
        ("/etc/passwd", Code::Value),
        ("nothing.csv", Code::Load),
        ("table.json", Code::Load),
    ] {
        let files = [
            ("p/init.lua", &*format!("gate.lookup('{path}') return {{ api = 1 }}")),
            ("p/table.json", "[1]"),
            ("secret.csv", "a,b\n"),
        ];
        assert_eq!(Rig::try_new(&files).err().unwrap()[0].fault.code, code, "{path}");
    }
}

/// A clock that is moved by hand.
struct Time(Now);

impl Time {
    fn after(&mut self, seconds: f64) -> Now {
        let by = Duration::from_secs_f64(seconds);
        self.0.monotonic += by;
        self.0.wall.0 += by.as_nanos() as u64;
        self.0
    }
}

#[test]
fn timers_run_when_they_are_due() {
    let rig = Rig::new(&[(
        "p.lua",
        "local d = gate.shared { name = 'd' }
         local began
         gate.every(2, function() d:incr('runs') began = began or gate.now() d:set('late', gate.now() - began) end)
         gate.every(5, function()
           local keys, cursor = d:scan(0, 1)
           while cursor do
             local more
             more, cursor = d:scan(cursor, 1)
             for _, key in ipairs(more) do keys[#keys + 1] = key end
           end
           table.sort(keys)
           d:set('keys', table.concat(keys, ','))
         end)
         gate.every(1, function() error('it fails') end, { each = true })
         return { api = 1, on_push = function(push)
           push:add { name = 'runs', value = d:get('runs') or 0 }
           push:add { name = 'late', value = d:get('late') or 0 }
           push:set_label('keys', d:get('keys') or '-')
         end }",
    )]);
    let mut time = Time(Now::read());
    rig.plugins.run_timers(time.0);
    let mut at = |seconds: f64| {
        rig.plugins.run_timers(time.after(seconds));
        rig.push("a 1\n").unwrap();
        rig.stored().join(" ")
    };
    assert!(at(1.9).contains("runs{instance=\"\",job=\"j\",keys=\"-\"} 0"));
    assert!(at(0.2).contains("runs{instance=\"\",job=\"j\",keys=\"-\"} 1"));
    assert!(at(3.0).contains("runs{instance=\"\",job=\"j\",keys=\"late,runs\"} 2"));
    // What was missed is not made up for.
    let late = at(1000.0);
    assert!(late.contains("runs{instance=\"\",job=\"j\",keys=\"keys,late,runs\"} 3"), "{late}");
    assert!(late.contains("late{instance=\"\",job=\"j\",keys=\"keys,late,runs\"} 1003"), "{late}");
    assert!(at(1.9).contains("} 3"));
    let counts = &rig.plugins.all_shared()[0].1.counts;
    assert!(counts.errors().any(|(code, count)| code == Code::Runtime && count == 5));
}

#[test]
fn only_the_first_worker_runs_what_is_not_for_each() {
    let folder = Folder::new(&[(
        "p.lua",
        "local d = gate.shared { name = 'd' }
         gate.every(1, function() d:incr('first') assert(gate.worker == 0) end)
         gate.every(1, function() d:incr('each') d:incr('worker' .. gate.worker) end, { each = true })
         return { api = 1, on_request = function(req)
           return gate.reject(400, d:get('first') .. ' ' .. d:get('each') .. ' ' .. d:get('worker1'))
         end }",
    )]);
    let plugins = Plugins::start(crate::plugin::Options { workers: 3, ..options(&folder) }).unwrap();
    let gateway = plain_gateway().with_plugins(plugins.clone());
    // A group that ends is no worker's, so it takes no number from one.
    plugins.expire(
        &crate::plugin::Dying {
            key: &GroupingKey::new("j", []),
            series: 0,
            last_push: crate::clock::UnixNanos::NEVER,
            lifetime: crate::model::Lifetime::default(),
        },
        Now::read(),
    );
    let start = Now::read();
    let turns: Vec<_> = (0..3)
        .map(|_| {
            let plugins = plugins.clone();
            std::thread::spawn(move || {
                let mut time = Time(start);
                plugins.run_timers(start);
                for _ in 0..4 {
                    plugins.run_timers(time.after(1.0));
                }
            })
        })
        .collect();
    turns.into_iter().for_each(|turn| turn.join().unwrap());
    let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
    let key = GroupingKey::new("j", []);
    let refusal = gateway.push_with(Mode::ReplaceGroup, &key, facts, &"a 1\n".into(), start).unwrap_err();
    assert_eq!(header(&refusal, "X-Push-Code"), "policy");
    assert!(refusal.text.ends_with(": 4 12 4"), "{}", refusal.text);
}

#[test]
fn a_runaway_timer_ends() {
    let rig = Rig::new(&[(
        "p.lua",
        "gate.every(1, function() while true do end end)
         gate.every(1, function() local s = 'x' while true do s = s .. s end end)
         return { api = 1 }",
    )]);
    let mut time = Time(Now::read());
    rig.plugins.run_timers(time.0);
    for _ in 0..3 {
        rig.plugins.run_timers(time.after(1.0));
    }
    rig.push("a 1\n").unwrap();
    let counts = &rig.plugins.all_shared()[0].1.counts;
    let count_of = |wanted| counts.errors().find(|(code, _)| *code == wanted).unwrap().1;
    assert!(count_of(Code::Budget) >= 3 && count_of(Code::Memory) >= 1);
}

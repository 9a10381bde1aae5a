//! Lifetimes by plugins: `ttl`, `on_expire`, `gate.extend`.

use super::*;
use crate::clock::Clock;

struct House {
    gateway: Gateway,
    clock: Clock,
    _folder: Folder,
}

/// A gateway with these plugins and a clock that is moved by hand.
fn house(files: &[(&str, &str)]) -> House {
    let folder = Folder::new(files);
    let clock = Clock::by_hand(Now::read());
    let telemetry = Arc::new(Telemetry::new(1));
    let gateway = Gateway::open_by(clock.clone(), Settings::default(), telemetry, None).unwrap();
    let plugins = Plugins::start(options(&folder)).unwrap_or_else(|problems| panic!("{problems:?}"));
    House { gateway: gateway.with_plugins(plugins), clock, _folder: folder }
}

fn of(members: &str) -> House {
    house(&[("p.lua", &format!("return {{ api = 1, {members} }}"))])
}

impl House {
    fn push(&self) -> Result<(), Refusal> {
        let key = GroupingKey::new("j", [("team", "a")]);
        self.gateway.push(
            Mode::ReplaceGroup,
            &key,
            None,
            &Bytes::from_static(b"m 1\nn 2\n"),
            self.clock.now(),
        )
    }

    fn lifetime(&self) -> String {
        let groups = self.gateway.groups();
        let Some(group) = groups.first() else { return "gone".into() };
        group.life().term().map_or("none".into(), |term| term.lifetime.to_string())
    }

    fn after(&self, seconds: f64) -> String {
        self.clock.advance(Duration::from_secs_f64(seconds));
        self.gateway.tend();
        self.lifetime()
    }
}

#[test]
fn ttl_is_read_and_written_in_every_hook_that_may_refuse() {
    for hook in ["on_request", "on_push", "on_family", "on_sample", "on_commit"] {
        let second = if matches!(hook, "on_family" | "on_sample") { "_, push" } else { "push" };
        let house = of(&format!("{hook} = function({second}) push.ttl = 1.5 assert(push.ttl == 1.5) end"));
        house.push().unwrap();
        assert_eq!(house.lifetime(), "1.5s", "{hook}");
        assert_eq!(house.after(1.4), "1.5s");
        assert_eq!(house.after(0.2), "gone");
    }
    let house = of("on_request = function(req) assert(req.ttl == nil) req.ttl = 5 req.ttl = nil end");
    house.push().unwrap();
    assert_eq!(house.lifetime(), "none");
    let late = of("on_request = function(r) r.ttl = 5 end, on_result = function(_, push) push.ttl = 1 end");
    late.push().unwrap();
    assert_eq!(late.lifetime(), "5s");
    for bad in ["-1", "0/0", "1/0", "1e10", "'5'", "{}", "true"] {
        assert!(of(&format!("on_request = function(req) req.ttl = {bad} end")).push().is_err(), "{bad}");
    }
}

#[test]
fn a_plugin_that_is_left_out_says_nothing_about_ttl() {
    let house = house(&[
        ("a.lua", "return { api = 1, on_request = function(req) req.ttl = 7 end }"),
        (
            "b.lua",
            "return { api = 1, on_error = 'pass', on_request = function(req) req.ttl = 9 error('x') end }",
        ),
    ]);
    house.push().unwrap();
    assert_eq!(house.lifetime(), "7s");
}

#[test]
fn the_longest_extension_wins() {
    let plugin = |seconds| {
        format!(
            "return {{ api = 1, on_request = function(req) req.ttl = 2 end,
               on_expire = function(group) if group.ttl == 2 then return gate.extend({seconds}) end end }}"
        )
    };
    let house = house(&[("a.lua", &plugin(3)), ("b.lua", &plugin(10)), ("c.lua", &plugin(4))]);
    house.push().unwrap();
    assert_eq!(house.after(2.0), "10s");
    assert_eq!(house.after(9.5), "10s");
    assert_eq!(house.after(0.5), "gone");
}

#[test]
fn scripts_see_the_group() {
    let house = of("on_request = function(req) req.ttl = 2 end,
        on_expire = { gate.when('{team=\"b\"}', function() error('not this one') end),
          gate.when('{team=\"a\"}', function(group)
            assert(group.job == 'j' and group.labels.team == 'a' and group.labels.x == nil)
            assert(group.n_series == 2 and group.ttl == 2 and group.age == 3)
            assert(math.abs(group.last_push + 3 - gate.now()) < 0.001)
            local names = ''
            for name in group.labels:each() do names = names .. name end
            assert(names == 'jobteam')
            return gate.extend(60)
          end) }");
    house.push().unwrap();
    assert_eq!(house.after(3.0), "1m0s");
}

#[test]
fn a_fault_keeps_the_group_for_a_minute() {
    for bad in [
        "error('x')",
        "while true do end",
        "return 5",
        "return false",
        "return gate.DROP",
        "return gate.reject(400, 'x')",
        "return gate.extend(0.5)",
        "return gate.extend(1e10)",
        "return gate.extend(0/0)",
        "group.job = 'x'",
        "group.labels.team = 'x'",
        "return group.nothing",
        "return group",
    ] {
        let house =
            of(&format!("on_request = function(req) req.ttl = 2 end, on_expire = function(group) {bad} end"));
        house.push().unwrap();
        assert_eq!(house.after(2.0), "2s", "{bad}");
        assert_eq!(house.after(59.0), "2s", "{bad}");
        let due = |house: &House| house.gateway.groups()[0].life().due();
        let before = due(&house);
        // It is asked again, and fails again.
        assert_eq!(house.after(1.0), "2s", "{bad}");
        assert!(due(&house) > before, "{bad}");
    }
}

#[test]
fn handles_and_extensions_belong_to_on_expire() {
    let house = of("on_push = function() return gate.extend(5) end");
    assert!(house.push().is_err());
    let house = of("init = function()
          local kept
          return { on_expire = function(group) kept = group return gate.extend(5) end,
            on_request = function(req)
              if kept then assert(not pcall(function() return kept.job end)) end
              req.ttl = 2
            end }
        end");
    house.push().unwrap();
    assert_eq!(house.after(2.0), "5s");
    house.push().unwrap();
    assert_eq!(house.lifetime(), "2s");
}

#[test]
fn a_push_begins_the_life_anew() {
    let house = of("on_request = function(req) req.ttl = 2 end");
    house.push().unwrap();
    assert_eq!(house.after(1.0), "2s");
    house.push().unwrap();
    assert_eq!(house.after(1.5), "2s");
    assert_eq!(house.after(0.5), "gone");
}

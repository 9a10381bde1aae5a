//! The plugins that come with the binary.

use super::{Rig, header};
use crate::clock::Now;
use crate::gateway::Mode;
use crate::model::{GroupingKey, Reason, RequestFacts};
use crate::plugin::bundled;

fn rig(name: &str, config: &str) -> Rig {
    Rig::new(&[(
        "plugins.yml",
        &format!("plugins:\n- name: p\n  use: bundled:{name}\n  config: {{ {config} }}\n"),
    )])
}

#[test]
fn each_says_in_its_first_line_what_it_is_for() {
    for (name, source) in bundled::ALL {
        assert!(source.starts_with(&format!("-- {name}: ")), "{name}");
    }
    assert!(bundled::ALL.is_sorted());
    assert!(bundled::sources("bundled:nope").is_err() && bundled::sources("relabel").is_err());
}

#[test]
fn relabel_runs_pasted_rules() {
    let rig = rig(
        "relabel",
        "only: '{env!=\"\"}', rules: [ { source_labels: [env], regex: dev, action: drop }, \
         { source_labels: [path], regex: '/u/\\d+(.*)', target_label: path, replacement: '/u/N$1' } ]",
    );
    rig.push("a{env=\"dev\"} 1\na{env=\"prod\",path=\"/u/17/x\"} 2\na{path=\"/u/17\"} 3\n").unwrap();
    assert_eq!(
        rig.stored(),
        [r#"a{env="prod",instance="",job="j",path="/u/N/x"} 2"#, r#"a{instance="",job="j",path="/u/17"} 3"#]
    );
}

#[test]
fn naming_rejects_drops_or_passes() {
    let bad = "# HELP badName x\n# TYPE badName counter\nbadName 1\n";
    let good = "# HELP good_total x\n# TYPE good_total counter\ngood_total 1\n";
    let strict = rig("naming", "");
    let refusal = strict.push(&format!("{good}{bad}")).unwrap_err();
    assert_eq!(refusal.reason, Reason::Plugin { status: 422, mark_failed: false });
    assert_eq!(refusal.text, "push rejected by plugin p: badName: counter_total, camel_case");
    strict.push(good).unwrap();
    let metric = strict.plugins.all_shared()[0].1.metrics().remove(0);
    assert_eq!(metric.declared.name, "problems_total");
    assert_eq!(metric.all().len(), 2);

    let drops = rig("naming", "action: drop, exempt: 'badName{x=\"y\"}'");
    drops.push(&format!("{good}{bad}")).unwrap();
    assert_eq!(drops.stored().len(), 1);
    drops.push("badName{x=\"y\"} 1\n").unwrap();
    assert_eq!(drops.stored().len(), 1);

    let words = rig("naming", "prefixes: [shop], ignore: [help]");
    words.push("shop_x 1\n").unwrap();
    assert!(words.push("other_x 1\n").unwrap_err().text.ends_with("other_x: prefix"));
    rig("naming", "action: warn").push(bad).unwrap();
}

#[test]
fn scrub_masks_hashes_or_drops() {
    let body = "a{mail=\"bob@example.org\",ip=\"10.0.0.7\",card=\"4111 1111 1111 1111\",path=\"/api/v1/users/1234/orders\",\
                id=\"550e8400-e29b-41d4-a716-446655440000\",random=\"q8Zx72LmPo0dK3vTf91y\",version=\"10.0.0.7\"} 1\n";
    let masks = rig("scrub", "");
    masks.push(body).unwrap();
    assert_eq!(
        masks.stored(),
        [
            r#"a{card="<card>",id="<uuid>",instance="",ip="<ip>",job="j",mail="<email>",path="/api/v1/users/1234/orders",random="<random>",version="10.0.0.7"} 1"#
        ]
    );
    let drops = rig("scrub", "action: drop, keep: []");
    drops.push(body).unwrap();
    assert_eq!(drops.stored(), [r#"a{instance="",job="j",path="/api/v1/users/1234/orders"} 1"#]);
    let hashes = rig("scrub", "action: hash, salt: s");
    hashes.push("a{mail=\"bob@example.org\"} 1\nb{mail=\"bob@example.org\"} 1\n").unwrap();
    let stored = hashes.stored();
    let masked = |line: &str| line.split("mail=").nth(1).unwrap()[..19].to_owned();
    assert!(masked(&stored[0]).starts_with("\"email:"));
    assert_eq!(masked(&stored[0]), masked(&stored[1]));
}

#[test]
fn tenant_comes_from_the_login_or_a_trusted_header() {
    let rig = rig("tenant", "users: { bob: blue }, header: X-Tenant");
    let push = |facts: RequestFacts, key: &GroupingKey| {
        rig.gateway.push_with(Mode::ReplaceGroup, key, facts, &"a 1\n".into(), Now::read())
    };
    let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
    let key = GroupingKey::new("j", []);
    let refusal = push(facts.clone(), &key).unwrap_err();
    assert_eq!(refusal.reason, Reason::Plugin { status: 401, mark_failed: false });
    assert_eq!(header(&refusal, "WWW-Authenticate"), "Basic realm=\"push\"");
    let bob = RequestFacts { user: Some("bob".into()), ..facts.clone() };
    push(bob.clone(), &key).unwrap();
    let red = GroupingKey::new("j", [("tenant", "red")]);
    assert_eq!(push(bob, &red).unwrap_err().reason, Reason::Plugin { status: 403, mark_failed: false });
    assert!(rig.gateway.wants_header("x-tenant") && !rig.gateway.wants_header("authorization"));
    let proxied = RequestFacts { headers: vec![("x-tenant".into(), "red".into())], ..facts };
    push(proxied, &red).unwrap();
    assert_eq!(
        rig.stored(),
        [r#"a{instance="",job="j",tenant="blue"} 1"#, r#"a{instance="",job="j",tenant="red"} 1"#]
    );
    // A delete belongs to a tenant as well.
    let anonymous = RequestFacts { method: "DELETE", ..RequestFacts::default() };
    assert!(rig.gateway.delete_with(&red, anonymous, Now::read()).is_err());
    let owner = RequestFacts {
        method: "DELETE",
        headers: vec![("x-tenant".into(), "red".into())],
        ..RequestFacts::default()
    };
    rig.gateway.delete_with(&red, owner, Now::read()).unwrap();
    assert_eq!(rig.stored().len(), 1);
}

#[test]
fn units_become_base_units() {
    let rig = rig("units", "rename: { old: renamed }, skip: [percent]");
    rig.push(
        "# TYPE wait_ms histogram\nwait_ms_bucket{le=\"500\"} 1\nwait_ms_bucket{le=\"+Inf\"} 2\nwait_ms_sum 1500\nwait_ms_count 2\n\
         # TYPE sent_kb_total counter\nsent_kb_total 2\nold 1\nbusy_percent 50\n",
    )
    .unwrap();
    let stored = rig.stored();
    assert_eq!(stored[0], r#"busy_percent{instance="",job="j"} 50"#);
    assert_eq!(stored[1], r#"renamed{instance="",job="j"} 1"#);
    assert_eq!(stored[2], r#"sent_bytes_total{instance="",job="j"} 2048"#);
    assert!(stored[3].starts_with("wait_seconds{"), "{}", stored[3]);
    assert!(stored[3].contains("buckets: [(0.5,") && stored[3].contains("sum: 1.5"), "{}", stored[3]);

    let both = super::bundled::rig("units", "keep_old: true");
    both.push("t_ms 1500\n").unwrap();
    assert_eq!(both.stored(), [r#"t_ms{instance="",job="j"} 1500"#, r#"t_seconds{instance="",job="j"} 1.5"#]);
}

#[test]
fn require_labels_asks_for_grouping_labels() {
    let rig = rig("require_labels", "labels: [team]");
    let refusal = rig.push("a 1\n").unwrap_err();
    assert_eq!(refusal.text, "push rejected by plugin p: grouping label team is missing");
    rig.push_to(&GroupingKey::new("j", [("team", "x")]), "a 1\n").unwrap();
}

//! What the tests in `plugins/` cannot see of the plugins that come with the binary.

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
fn naming_counts_problems() {
    let rig = rig("naming", "");
    assert!(rig.push("# HELP badName x\n# TYPE badName counter\nbadName 1\n").is_err());
    let metric = rig.plugins.all_shared()[0].1.metrics().remove(0);
    assert_eq!(metric.declared.name, "problems_total");
    assert_eq!(metric.all().len(), 2);
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

//! Rights by identity: what the grants of the web configuration file allow.
//!
//! Anything that no grant allows is refused, with the reason. Groups are told by their whole grouping
//! key: a label that a grant names must be there, with a value that is equal or that the pattern matches
//! as a whole.

use std::sync::Arc;

use crate::config::web_config::rights::{self as config, May, Value};
use crate::format::quote::quoted;
use crate::gateway::Pattern;
use crate::model::{Action, GroupingKey, Identity, Reason, Refusal};

/// All grants, ready to be looked at.
#[derive(Debug)]
pub struct Rights(Vec<Grant>);

#[derive(Debug)]
struct Grant {
    users: Vec<String>,
    certificates: Vec<String>,
    tokens: Vec<String>,
    may: Vec<Action>,
    groups: Vec<(String, Wanted)>,
}

#[derive(Debug)]
enum Wanted {
    Exact(String),
    Matching(Pattern),
}

impl Rights {
    /// Compiles the patterns.
    ///
    /// # Errors
    ///
    /// One is wrong; the text says which.
    pub fn compile(rights: &config::Rights) -> Result<Arc<Rights>, String> {
        let wanted = |(label, value): (&String, &Value)| {
            let wanted = match value {
                Value::Exact(text) => Wanted::Exact(text.clone()),
                Value::Regex(pattern) => Wanted::Matching(Pattern::anchored(pattern)?),
            };
            Ok((label.clone(), wanted))
        };
        let grants = rights.grants.iter().enumerate().map(|(number, grant)| {
            let groups: Result<_, String> = grant.groups.iter().map(wanted).collect();
            Ok(Grant {
                users: grant.users.clone(),
                certificates: grant.certificates.clone(),
                tokens: grant.tokens.clone(),
                may: grant.may.iter().map(|may| action(*may)).collect(),
                groups: groups.map_err(|fault| format!("floodway.rights[{number}]: {fault}"))?,
            })
        });
        grants.collect::<Result<_, String>>().map(|grants| Arc::new(Rights(grants)))
    }

    /// Whether `identity` may do this, to the group `key` if it is done to one.
    ///
    /// # Errors
    ///
    /// No grant allows it.
    pub fn check(
        &self,
        identity: &Identity,
        action: Action,
        key: Option<&GroupingKey>,
    ) -> Result<(), Refusal> {
        let theirs = || self.0.iter().filter(|grant| grant.may.contains(&action) && grant.is_of(identity));
        if theirs().any(|grant| key.is_none_or(|key| grant.covers(key))) {
            return Ok(());
        }
        let what = action.name();
        let text = match key {
            Some(key) if theirs().next().is_some() => {
                let group = quoted(key.to_string().as_bytes());
                format!("{identity} has no right to {what} in the group {group}")
            }
            _ => format!("{identity} has no right to {what}"),
        };
        Err(Refusal::new(Reason::Forbidden, text))
    }
}

impl Grant {
    fn is_of(&self, identity: &Identity) -> bool {
        let is_among = |names: &[String], name: &str| names.iter().any(|other| other == name);
        identity.user.as_deref().is_some_and(|user| is_among(&self.users, user))
            || identity.token.as_deref().is_some_and(|token| is_among(&self.tokens, token))
            || identity
                .certificate
                .as_deref()
                .is_some_and(|names| names.iter().any(|name| is_among(&self.certificates, name)))
    }

    fn covers(&self, key: &GroupingKey) -> bool {
        self.groups.iter().all(|(label, wanted)| match (key.get(label), wanted) {
            (None, _) => false,
            (Some(value), Wanted::Exact(text)) => value == text,
            (Some(value), Wanted::Matching(pattern)) => pattern.is_match(value.as_bytes()),
        })
    }
}

fn action(may: May) -> Action {
    match may {
        May::Push => Action::Push,
        May::Delete => Action::Delete,
        May::Scrape => Action::Scrape,
        May::Admin => Action::Admin,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::web_config::WebConfig;

    fn rights(text: &str) -> Result<Arc<Rights>, String> {
        let hash = "$2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi";
        let zeros = "0".repeat(64);
        let text = format!(
            "tls_server_config: {{cert: c, key: k, client_ca: a, client_auth_type: VerifyClientCertIfGiven}}\n\
             basic_auth_users: {{alice: {hash}, bob: {hash}}}\n\
             floodway:\n  tokens: {{ci: '{zeros}'}}\n  rights:\n{text}"
        );
        Rights::compile(&WebConfig::parse(&text, Path::new("")).unwrap().rights.unwrap())
    }

    fn user(name: &str) -> Identity {
        Identity { user: Some(name.into()), ..Identity::default() }
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let rights = rights(
            "    - {users: [alice], may: [push, delete], groups: {team: a, job: {regex: 'batch_.*|x'}}}\n\
             \x20   - {users: [alice, bob], may: [scrape]}\n\
             \x20   - {tokens: [ci], may: [push]}\n\
             \x20   - {certificates: [spiffe://x/ops], may: [push, delete, scrape, admin]}\n",
        )
        .unwrap();
        let key = |job: &'static str, labels: &[(&'static str, &'static str)]| {
            GroupingKey::new(job, labels.iter().copied())
        };
        let may = |who: &Identity, action, key: &GroupingKey| rights.check(who, action, Some(key)).is_ok();
        let alice = user("alice");
        for (job, labels, allowed) in [
            ("batch_1", &[("team", "a")][..], true),
            ("x", &[("team", "a"), ("instance", "i")], true),
            ("xx", &[("team", "a")], false),
            ("a_batch_1", &[("team", "a")], false),
            ("batch_1", &[("team", "aa")], false),
            ("batch_1", &[("team", "")], false),
            ("batch_1", &[("instance", "a")], false),
            ("batch_1", &[], false),
        ] {
            for action in [Action::Push, Action::Delete] {
                assert_eq!(may(&alice, action, &key(job, labels)), allowed, "{job} {labels:?}");
            }
        }
        let plain = key("j", &[]);
        assert!(rights.check(&alice, Action::Scrape, None).is_ok());
        assert!(rights.check(&alice, Action::Admin, None).is_err());
        assert!(!may(&user("bob"), Action::Push, &plain) && !may(&user("ci"), Action::Push, &plain));
        let token = Identity { token: Some("ci".into()), ..Identity::default() };
        assert!(may(&token, Action::Push, &plain) && !may(&token, Action::Delete, &plain));
        let names: Arc<[String]> = ["other".to_owned(), "spiffe://x/ops".to_owned()].into();
        let both = Identity { certificate: Some(names), ..alice };
        assert!(may(&both, Action::Delete, &plain));
        assert!(!may(&Identity::default(), Action::Push, &plain));
        let text = |who: &Identity, action| rights.check(who, action, Some(&plain)).unwrap_err().text;
        assert_eq!(
            text(&user("alice"), Action::Push),
            "user \"alice\" has no right to push in the group \"{job=\\\"j\\\"}\""
        );
        assert_eq!(text(&token, Action::Delete), "token \"ci\" has no right to delete");
        assert_eq!(text(&Identity::default(), Action::Push), "nobody known has no right to push");
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let fault = rights("    - {users: [bob], may: [push], groups: {job: {regex: '('}}}\n").unwrap_err();
        assert!(fault.starts_with("floodway.rights[0]: error parsing regexp"), "{fault}");
    }
}

//! PUT and POST on `/-/reload`: reads the plugins, the rules for lifetimes and those for merging
//! anew, each on its own.

use std::sync::Arc;
use std::thread;

use futures_channel::oneshot;

use crate::gateway::Gateway;
use crate::http::Answer;

/// Answers once everything new is in force, or with all that is wrong; what is not wrong is in force then.
/// The work is done on a thread of its own, for it may take seconds.
pub async fn finish(gateway: &Arc<Gateway>) -> Answer {
    let (sender, receiver) = oneshot::channel();
    let gateway = gateway.clone();
    let started = thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // The client may have gone; the reload counts all the same.
        let _ = sender.send((gateway.reload_plugins(), gateway.reload_rules()));
    });
    if let Err(error) = started {
        return Answer::error(500, &format!("cannot start a reload: {error}"));
    }
    match receiver.await {
        Ok((plugins, rules)) if plugins.is_ok() && rules.is_empty() => Answer::empty(200),
        Ok((plugins, rules)) => {
            let problems = plugins.err().unwrap_or_default();
            let lines = problems.iter().map(ToString::to_string);
            let lines: Vec<String> = lines.chain(rules).collect();
            Answer::error(422, &lines.join("\n"))
        }
        Err(_) => Answer::error(500, "the reload ended by a fault of its own"),
    }
}

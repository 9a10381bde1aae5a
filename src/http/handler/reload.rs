//! PUT and POST on `/-/reload`: reads the plugins anew.

use std::sync::Arc;
use std::thread;

use futures_channel::oneshot;

use crate::gateway::Gateway;
use crate::http::Answer;

/// Answers once the new plugins are in force, or with everything that is wrong with them. The work is
/// done on a thread of its own, for it may take seconds.
pub async fn finish(gateway: &Arc<Gateway>) -> Answer {
    let (sender, receiver) = oneshot::channel();
    let gateway = gateway.clone();
    let started = thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // The client may have gone; the reload counts all the same.
        let _ = sender.send(gateway.reload_plugins());
    });
    if let Err(error) = started {
        return Answer::error(500, &format!("cannot start a reload: {error}"));
    }
    match receiver.await {
        Ok(Ok(_)) => Answer::empty(200),
        Ok(Err(problems)) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Answer::error(422, &lines.join("\n"))
        }
        Err(_) => Answer::error(500, "the reload ended by a fault of its own"),
    }
}

//! Has plugins told what became of pushes, after their answers.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Gateway;

/// Enough for the answers that wait to be written: the runtime hands them to the kernel before it looks at
/// its timers again.
const PAUSE: Duration = Duration::from_millis(1);

/// Sees to it, if nobody does yet.
pub fn tell_later(gateway: &Arc<Gateway>) {
    if gateway.results_are_due() {
        let gateway = gateway.clone();
        monoio::spawn(async move {
            monoio::time::sleep(PAUSE).await;
            gateway.tell_results();
        });
    }
}

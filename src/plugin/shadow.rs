//! Mode `shadow`: a plugin runs in its place on what is pushed, and what it did is counted, remembered and
//! taken back before the next plugin runs.

use std::time::Instant;

use super::draft::Changes;
use super::settings::Mode;
use super::stage::Stage;
use super::stats::{Effect, bump};
use super::transform::Ended;
use super::vm::Verdict;
use super::worker::Slot;

impl Slot {
    pub(super) fn is_shadow(&self) -> bool {
        self.planned.spec.mode == Mode::Shadow
    }

    /// Counts what a phase would have done to the push on stage, and notes what it was.
    pub(super) fn note_shadow(&self, stage: &Stage, ended: Ended, changes: &Changes, ttl_changed: bool) {
        let shared = &self.planned.spec.shared;
        // The log has names, no values; the reason of a refusal may hold some.
        let note = |effect: Effect, text: String, logged: &str| {
            let name = Effect::NAMES[effect as usize];
            bump(&shared.counts.shadow[effect as usize], 1);
            let is_due = shared.recent.shadowed(stage.incident(name, text.clone()), Instant::now());
            let plugin = &self.planned.spec.name;
            if stage.keep_record(|| format!("{plugin}: shadow: {name}: {text}")) || !is_due {
                return;
            }
            tracing::info!(plugin, id = stage.id_text(), effect = name, "in shadow: {logged}");
        };
        match ended {
            Err(fault) => {
                shared.counts.count_error(fault.code);
                shared.recent.failed(stage.incident(fault.code.name(), fault.text.clone()));
                note(Effect::Error, fault.to_string(), fault.code.name());
            }
            Ok(Some(Verdict::Reject(reject))) => {
                let what = format!("{} {}", reject.status, reject.code);
                note(Effect::Reject, format!("{what}: {}", reject.reason), &what);
            }
            Ok(Some(Verdict::Discard(reason))) => note(Effect::Discard, reason, "discards the push"),
            Ok(_) => {
                if changes.is_change() || ttl_changed {
                    let ttl = if ttl_changed { "sets ttl" } else { "" };
                    let parts = [ttl.to_owned(), changes.summary()];
                    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                    let text = parts.join("; ");
                    note(Effect::Change, text.clone(), &text);
                }
                if changes.dropped > 0 {
                    let text = format!("drops {} samples", changes.dropped);
                    note(Effect::Drop, text.clone(), &text);
                }
            }
        }
    }
}

//! A pushed body becomes metric families, by the parser of its format.

use std::cell::Cell;

use bytes::Bytes;

use crate::model::{Families, GroupingKey, Leniency, NameRules, Reason, Refusal, Rules};
use crate::parse::{BodyFormat, lenient, loose, openmetrics, protobuf, text};
use crate::plugin;
use crate::store::life::Stamp;

use super::Gateway;

thread_local! {
    /// The vectors that the last push of this thread was parsed into.
    static SPARE: Cell<Option<Families<'static>>> = const { Cell::new(None) };
}

impl Gateway {
    fn rules(&self) -> Rules {
        Rules { names: self.settings.names, limits: self.settings.limits.push }
    }

    /// Reads a body and hands its families to `take`, with the body itself where a template of it is
    /// worth keeping. `stamp`: what a refusal that leaves a trace is stamped with; without one the push is
    /// only tried out, and nothing of it is counted.
    pub(super) fn read(
        &self,
        format: BodyFormat,
        key: &GroupingKey,
        body: &Bytes,
        stamp: Option<Stamp>,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match format {
            BodyFormat::Text => self.read_text(body, stamp, take),
            BodyFormat::OpenMetrics => self.read_openmetrics(body, stamp, take),
            BodyFormat::Protobuf => self.read_protobuf(key, body, stamp, take),
        }
    }

    /// Counts what was forgiven of a push.
    fn count(&self, leniencies: &[Leniency], stamp: Option<Stamp>) {
        if stamp.is_some() {
            leniencies.iter().for_each(|leniency| self.telemetry.count_lenience(*leniency));
        }
    }

    fn read_text(
        &self,
        body: &Bytes,
        stamp: Option<Stamp>,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let rules = self.rules();
        let parsed = text::parse(body, rules, SPARE.take().unwrap_or_default());
        let is_bad = parsed.as_ref().map_or(true, |families| families.timestamped);
        // Only what would be refused is looked at again.
        if is_bad
            && self.settings.lenient
            && let Some(relaxed) = lenient::relax(body)
        {
            let families = text::parse(&relaxed.body, rules, Families::default())?;
            self.count(&relaxed.leniencies, stamp);
            return take(&families, None);
        }
        let families = parsed?;
        let result = take(&families, Some(body));
        SPARE.set(Some(families.recycle()));
        result
    }

    /// Clients announce OpenMetrics and then send plain text, as the reference reads it. So a body that is
    /// no OpenMetrics is read as text, and the first fault counts if it is no text either.
    fn read_openmetrics(
        &self,
        body: &Bytes,
        stamp: Option<Stamp>,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let rules = self.rules();
        let mut is_refused_as_text = false;
        let fault = match openmetrics::read(body, rules.names) {
            Ok(read) => match read.families(rules, SPARE.take().unwrap_or_default()) {
                Ok(mut families) => {
                    self.forgive_timestamps(&mut families, stamp);
                    let result = take(&families, None);
                    SPARE.set(Some(families.recycle()));
                    return result;
                }
                Err(fault) => {
                    is_refused_as_text = read.is_text() && !self.settings.lenient;
                    fault
                }
            },
            Err(fault) => fault,
        };
        if is_refused_as_text || fault.is_final() {
            return Err(fault.into());
        }
        let mut is_text = false;
        let result = self.read_text(body, stamp, &mut |families, body| {
            is_text = true;
            take(families, body)
        });
        if is_text { result } else { Err(fault.into()) }
    }

    /// Forgets that a body had timestamps, which are not kept anyway.
    fn forgive_timestamps(&self, families: &mut Families<'_>, stamp: Option<Stamp>) {
        if self.settings.lenient && families.timestamped {
            families.timestamped = false;
            families.timestamps.clear();
            self.count(&[Leniency::Timestamp], stamp);
        }
    }

    fn read_protobuf(
        &self,
        key: &GroupingKey,
        body: &Bytes,
        stamp: Option<Stamp>,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let spare = SPARE.take().unwrap_or_default();
        let mut families = match protobuf::parse(body, self.rules(), spare) {
            Ok(families) => families,
            Err(error) => {
                // Found by the parser here, but by the store in the reference, which stamps it.
                if let Some(stamp) = stamp
                    && error.reason() == Reason::Inconsistent
                {
                    self.store.stamp_failure(key, stamp);
                }
                return Err(error.into());
            }
        };
        // What is forgiven is counted each time.
        let whole = (!families.timestamped).then_some(body);
        self.forgive_timestamps(&mut families, stamp);
        let result = take(&families, whole);
        SPARE.set(Some(families.recycle()));
        result
    }

    /// Reads a body for plugins: where `is_loose`, also one that they may put right. See
    /// [`read`](Gateway::read) for `stamp`.
    pub(super) fn read_for_plugins(
        &self,
        format: BodyFormat,
        key: &GroupingKey,
        body: &Bytes,
        stamp: Option<Stamp>,
        is_loose: bool,
        load: plugin::Load<'_>,
    ) -> Result<(), Refusal> {
        let read = self.read(format, key, body, stamp, &mut |families, body| {
            // Messages that are kept as they came have no place in what plugins leave for the next push.
            let is_whole = body.is_some() && families.details.is_empty();
            load(plugin::Read::Parsed { families, is_whole, loose: &[] });
            Ok(())
        });
        match read {
            Err(refusal)
                if is_loose && refusal.reason == Reason::Malformed && format != BodyFormat::Protobuf =>
            {
                self.read_loosely(body, stamp, load)
            }
            read => read,
        }
    }

    /// Reads a text body that breaks the rules for names, or whose values are `null`, for plugins that may
    /// put that right, and tells where each series stood.
    fn read_loosely(
        &self,
        body: &Bytes,
        stamp: Option<Stamp>,
        take: plugin::Load<'_>,
    ) -> Result<(), Refusal> {
        let mut loose = loose::loosen(body);
        if self.settings.lenient
            && let Some(relaxed) = lenient::relax(&loose.body)
        {
            self.count(&relaxed.leniencies, stamp);
            loose.body = relaxed.body;
        }
        let families = text::parse(&loose.body, NameRules::Utf8, Families::default())?;
        take(plugin::Read::Parsed { families: &families, is_whole: false, loose: &loose.lines(&families) });
        Ok(())
    }

    /// The refusal of a line that was read loosely, in the words of the parser.
    pub(super) fn refuse_line(&self, body: &Bytes, line: u32) -> Refusal {
        loose::refused(body, line, self.settings.names).map_or_else(
            || Refusal::new(Reason::Malformed, "text format parsing error: invalid name or value"),
            Refusal::from,
        )
    }
}

//! What may be forgiven in a body that strict reading refuses.

/// A fault of a body that leaves no doubt about what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leniency {
    /// Lines end in CR LF.
    Crlf,
    /// The last line has no end.
    FinalNewline,
    /// Samples carry timestamps, which are dropped.
    Timestamp,
}

impl Leniency {
    /// In the order of the declaration.
    pub const ALL: [Leniency; 3] = [Leniency::Crlf, Leniency::FinalNewline, Leniency::Timestamp];

    /// The value of the `kind` label on the counter of leniencies.
    pub fn label(self) -> &'static str {
        match self {
            Leniency::Crlf => "crlf",
            Leniency::FinalNewline => "final_newline",
            Leniency::Timestamp => "timestamp",
        }
    }
}

//! Where series came from that a lenient reading let pass.

/// Where the sample of a series stood, for whoever has to refuse it after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooseLine {
    /// Counted from 1; zero where it is not known.
    pub line: u32,
    /// Whether the word `null` stood for its value.
    pub null: bool,
}

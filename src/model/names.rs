//! Which metric and label names are legal.

/// Whether only the old ASCII names are legal, or any UTF-8 (`--push.enable-utf8-names`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRules {
    Legacy,
    Utf8,
}

impl NameRules {
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            NameRules::Legacy => is_legacy_metric_name(name),
            NameRules::Utf8 => !name.is_empty(),
        }
    }

    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            NameRules::Legacy => is_legacy_label_name(name),
            NameRules::Utf8 => !name.is_empty(),
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_word(name, |byte| byte == b':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_legacy_label_name(name: &str) -> bool {
    is_word(name, |_| false)
}

fn is_word(name: &str, is_more: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    // Without a way out in between, which lets the compiler look at many bytes at a time.
    let all_fit = bytes.iter().fold(true, |fit, byte| {
        fit & (byte.is_ascii_alphabetic() | byte.is_ascii_digit() | (*byte == b'_') | is_more(*byte))
    });
    all_fit && bytes.first().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names() {
        for good in ["a", "_", "A9", "a:b", ":"] {
            assert!(is_legacy_metric_name(good), "{good}");
        }
        for bad in ["", "9", "a-b", "a.b", "é", "a b"] {
            assert!(!is_legacy_metric_name(bad), "{bad}");
        }
        assert!(!is_legacy_label_name("a:b"));
        assert!(NameRules::Utf8.is_metric_name("a b") && !NameRules::Utf8.is_metric_name(""));
    }
}

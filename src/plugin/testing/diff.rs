//! What differs between two texts, line by line.

/// Pairs of lines that are compared at most; longer texts are shown whole where they differ.
const PAIRS_MAX: usize = 4_000_000;

/// Lines in common that are shown before and after a difference.
const CONTEXT: usize = 2;

/// The lines of a text that say something, sorted: the order of series means nothing.
pub fn canonical(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// Lines that only `expected` has behind `-`, lines that only `got` has behind `+`; `None` if they are
/// equal.
pub fn difference(expected: &[&str], got: &[&str]) -> Option<String> {
    if expected == got {
        return None;
    }
    let start = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let (expected_rest, got_rest) = (&expected[start..], &got[start..]);
    let end = expected_rest.iter().rev().zip(got_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (minus, plus) = (&expected_rest[..expected_rest.len() - end], &got_rest[..got_rest.len() - end]);
    let mut out = String::new();
    let mut line = |mark: char, line: &str| {
        out.push(mark);
        out.push(' ');
        out.push_str(line);
        out.push('\n');
    };
    expected[start.saturating_sub(CONTEXT)..start].iter().for_each(|text| line(' ', text));
    let mut both = common(minus, plus).into_iter();
    let (mut at, mut to) = (0, 0);
    loop {
        let (next_at, next_to) = both.next().unwrap_or((minus.len(), plus.len()));
        minus[at..next_at].iter().for_each(|text| line('-', text));
        plus[to..next_to].iter().for_each(|text| line('+', text));
        if next_at == minus.len() {
            break;
        }
        line(' ', minus[next_at]);
        (at, to) = (next_at + 1, next_to + 1);
    }
    let after = start + minus.len();
    expected[after..].iter().take(CONTEXT).for_each(|text| line(' ', text));
    out.truncate(out.trim_end().len());
    Some(out)
}

/// Positions of a longest run of lines that both have, in order.
fn common(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
    if a.len().saturating_mul(b.len()) > PAIRS_MAX {
        return Vec::new();
    }
    let width = b.len() + 1;
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    for at in (0..a.len()).rev() {
        for to in (0..b.len()).rev() {
            lengths[at * width + to] = if a[at] == b[to] {
                lengths[(at + 1) * width + to + 1] + 1
            } else {
                lengths[(at + 1) * width + to].max(lengths[at * width + to + 1])
            };
        }
    }
    let (mut at, mut to, mut pairs) = (0, 0, Vec::new());
    while at < a.len() && to < b.len() {
        if a[at] == b[to] {
            pairs.push((at, to));
            (at, to) = (at + 1, to + 1);
        } else if lengths[(at + 1) * width + to] >= lengths[at * width + to + 1] {
            at += 1;
        } else {
            to += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_between_what_is_equal() {
        let lines = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        assert_eq!(difference(&lines("a b"), &lines("a b")), None);
        for (expected, got, shown) in [
            ("a b c d e f", "a b c x e f", "  b\n  c\n- d\n+ x\n  e\n  f"),
            ("a b", "b", "- a\n  b"),
            ("a", "a b", "  a\n+ b"),
            ("a b c d", "b x d y", "- a\n  b\n- c\n+ x\n  d\n+ y"),
            ("a", "b", "- a\n+ b"),
        ] {
            assert_eq!(difference(&lines(expected), &lines(got)).as_deref(), Some(shown));
        }
        assert_eq!(canonical(" b 1\n\n a 2 \n"), ["a 2", "b 1"]);
    }
}

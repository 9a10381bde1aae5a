//! A histogram as bars: how many samples lie in each bucket.

use crate::format::float::write_float;
use crate::gateway::ValueView;
use crate::model::Number;
use crate::model::histogram::NativeHistogram;

/// Bars drawn of one histogram; of more buckets the fullest stretch around them is not told apart on a page.
const BARS_MAX: usize = 200;

/// Width that a bar takes with the gap beside it.
const STEP: usize = 10;

/// Pixels that a bar takes with its gap where there are few, and that all of them may take.
const STEP_PIXELS: usize = 32;
const PIXELS_MAX: usize = 384;

/// Lengths are parts of a box that is `width` wide and 100 high.
pub struct Bars {
    pub width: usize,
    /// How wide the box is drawn.
    pub pixels: usize,
    pub list: Vec<Bar>,
    pub summary: String,
}

pub struct Bar {
    pub x: usize,
    pub y: String,
    pub height: String,
    pub title: String,
}

/// The bars of a value that is a histogram with buckets.
pub fn of(value: &ValueView<'_>) -> Option<Bars> {
    let ValueView::Histogram { buckets, sum, count, detail } = value else { return None };
    let native = detail.and_then(|message| NativeHistogram::read(message).ok());
    let counts: Vec<(String, f64)> = match native.filter(NativeHistogram::has_spans) {
        Some(native) => {
            let title = |bucket: &crate::model::histogram::NativeBucket| {
                format!("{} to {}", number(bucket.lower), number(bucket.upper))
            };
            native.buckets().iter().map(|bucket| (title(bucket), bucket.count.as_f64())).collect()
        }
        None => differences(buckets),
    };
    if counts.is_empty() {
        return None;
    }
    let counts = &counts[..counts.len().min(BARS_MAX)];
    let most = counts.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let bar = |(at, (title, count)): (usize, &(String, f64))| {
        let height = if most > 0.0 { count / most * 100.0 } else { 0.0 };
        Bar {
            x: at * STEP,
            y: format!("{:.1}", 100.0 - height),
            height: format!("{height:.1}"),
            title: format!("{title}: {}", number(*count)),
        }
    };
    Some(Bars {
        width: counts.len() * STEP,
        pixels: (counts.len() * STEP_PIXELS).min(PIXELS_MAX),
        list: counts.iter().enumerate().map(bar).collect(),
        summary: format!("{} samples, sum {}", number(count.as_f64()), number(*sum)),
    })
}

/// What lies in each bucket, out of counts that include all buckets below.
fn differences(buckets: &[(f64, Number)]) -> Vec<(String, f64)> {
    let mut below = 0.0;
    let one = |(bound, count): &(f64, Number)| {
        let inside = (count.as_f64() - below).max(0.0);
        below = count.as_f64();
        (format!("≤ {}", number(*bound)), inside)
    };
    buckets.iter().map(one).collect()
}

fn number(value: f64) -> String {
    let mut out = Vec::new();
    write_float(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_lies_in_each_bucket() {
        let buckets = vec![(1.0, Number::Int(4)), (2.5, Number::Int(4)), (f64::INFINITY, Number::Int(6))];
        let value = ValueView::Histogram { buckets, sum: 7.5, count: Number::Int(6), detail: None };
        let bars = of(&value).unwrap();
        let shown: Vec<_> = bars.list.iter().map(|bar| (bar.x, &*bar.height, &*bar.title)).collect();
        assert_eq!(shown, [(0, "100.0", "≤ 1: 4"), (10, "0.0", "≤ 2.5: 0"), (20, "50.0", "≤ +Inf: 2")]);
        assert_eq!((bars.width, bars.pixels, &*bars.summary), (30, 96, "6 samples, sum 7.5"));
        assert!(of(&ValueView::Plain(1.0)).is_none());
    }
}

//! The real reader beside the plain one: every prefix and every small change of a good body, and bodies
//! made up of likely pieces.

use proptest::prelude::*;

use super::naive::{Outcome, read_naively};
use super::tests::described;
use super::*;

/// The same of the real reader; the series of each span is named by its family and its place there.
fn read_really(body: &[u8], names: NameRules) -> Outcome<(Vec<String>, Vec<String>)> {
    let families = parse(body, names, Families::default()).map_err(|error| error.to_string())?;
    let samples = families.samples.iter().map(|sample| {
        let family =
            families.families.iter().find(|family| family.series.range().contains(&(sample.series as usize)));
        let family = family.unwrap();
        let text = String::from_utf8_lossy(&body[sample.start as usize..sample.end as usize]);
        assert_eq!(body[sample.end as usize], b'\n');
        format!("{text} {} {} {:?}", family.name, sample.series - family.series.start, sample.field)
    });
    Ok((described(&families), samples.collect()))
}

#[track_caller]
fn compare(body: &[u8]) {
    for names in [NameRules::Legacy, NameRules::Utf8] {
        let (real, naive) = (read_really(body, names), read_naively(body, names));
        assert_eq!(real, naive, "{names:?} {:?}", String::from_utf8_lossy(body));
    }
}

const GOOD: &str = "# HELP a_total Things \\\\ done\\n.\n# TYPE a_total counter\na_total{x=\"1\",y=\"\\\"\"} 10\n\
a_total 2.5e3\n \t\n# TYPE h histogram\nh_bucket{z=\"é\",le=\"0.5\"} 1\nh_bucket{z=\"é\",le=\"+Inf\"} 2\n\
h_bucket{le=\"1\",y=\"2\"} 7\nh_bucket{y=\"2\",le=\"2\",z=\"é\"} 1\nh_sum{z=\"é\"} 0.7\nh_count{z=\"é\"} 2\n\
# TYPE s summary\ns{quantile=\"0.5\"} 3\na_total{x=\"2\",} -1\ns_count 1.5\n\
# TYPE \"q.r\" gauge\n{\"q\",k=\"v\"} 1\n{quantile=\"1\",s} 4\nw NaN 123\n";

#[test]
fn every_prefix_reads_the_same() {
    assert!(read_really(GOOD.replace("\"q.r\"", "\"q\"").as_bytes(), NameRules::Legacy).is_ok());
    assert!(read_really(GOOD.as_bytes(), NameRules::Utf8).is_ok());
    for end in 0..=GOOD.len() {
        compare(&GOOD.as_bytes()[..end]);
    }
}

#[test]
fn every_change_of_one_byte_reads_the_same() {
    let changes = b"\0\t\n\r !\"#+,-.019:=AINT_aehlmpqsuxyz{}\\\x7f\x80\xc3\xa9\xff";
    for at in 0..GOOD.len() {
        let mut body = GOOD.as_bytes().to_vec();
        for &byte in changes {
            body[at] = byte;
            compare(&body);
        }
        body.remove(at);
        compare(&body);
        for byte in *b"\n \"\\{},a1" {
            body.insert(at, byte);
            compare(&body);
            body.remove(at);
        }
    }
}

/// Pieces of which most bodies are nearly right.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "x",
        "x_count",
        "x_sum",
        "x_bucket",
        "\"x\"",
        "\"x.y\"",
        "{x,",
        "{\"x_bucket\",",
        "{",
        "}",
        "{}",
        "a=\"1\"",
        "a=\"2\"",
        "b=\"\"",
        "le=\"1\"",
        "le=\"+Inf\"",
        "le=\"z\"",
        "quantile=\"0.5\"",
        "quantile=\"NaN\"",
        ",",
        " ",
        " 1\n",
        " 2.5\n",
        " -1\n",
        " NaN\n",
        " 1 2\n",
        " 1e30\n",
        "\n",
        "# HELP x h\n",
        "# HELP x_sum \n",
        "# TYPE x histogram\n",
        "# TYPE x summary\n",
        "# TYPE x gauge\n",
        "# TYPE y gaugehistogram\n",
        "# ",
        "y",
        "y_count",
        "y_bucket",
        "\\",
        "\"",
        "é",
        "=",
        "\t",
    ])
}

/// Whole lines of two families, so that many bodies are accepted and interleave.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "x", "x_count", "x_sum", "x_bucket", "y", "y_count", "y_sum", "y_bucket", "z",
    ]);
    let labels = prop::collection::vec(
        prop::sample::select(vec![
            "a=\"1\"",
            "a=\"2\"",
            "b=\"1\"",
            "le=\"1\"",
            "le=\"2\"",
            "quantile=\"1\"",
            "quantile=\"nan\"",
        ]),
        0..3,
    );
    let value = prop::sample::select(vec!["0", "1", "2", "3.5", "1e20"]);
    (name, labels, value, any::<bool>()).prop_map(|(name, labels, value, inside)| {
        let labels = labels.join(",");
        if inside {
            format!("{{{labels},{name}}} {value}\n").replace("{,", "{")
        } else {
            format!("{name}{{{labels}}} {value}\n")
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_read_the_same(pieces in prop::collection::vec(piece(), 0..40)) {
        compare(pieces.concat().as_bytes());
    }

    #[test]
    fn lines_read_the_same(
        types in prop::sample::subsequence(vec!["# TYPE x histogram\n", "# TYPE y summary\n", "# HELP z h\n"], 0..=3),
        lines in prop::collection::vec(line(), 0..25),
    ) {
        compare((types.concat() + &lines.concat()).as_bytes());
    }

    #[test]
    fn bytes_read_the_same(body in prop::collection::vec(any::<u8>(), 0..80)) {
        compare(&body);
    }
}

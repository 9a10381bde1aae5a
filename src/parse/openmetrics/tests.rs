//! What each construct of OpenMetrics 1.0 becomes, what is refused, and that damage does no harm.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::format::quote::quoted;
use crate::model::Number;
use crate::parse::protobuf::oracle;

fn parsed<T>(body: &str, names: NameRules, look: impl FnOnce(&Families<'_>) -> T) -> Result<T, String> {
    let read = read(body.as_bytes(), names).map_err(|error| error.to_string())?;
    let families = read.families(names, Families::default()).map_err(|error| error.to_string())?;
    assert!(families.samples.is_empty());
    Ok(look(&families))
}

/// One line for each family and series; a detail as its exemplars and created time.
fn shown(body: &str, names: NameRules) -> Result<String, String> {
    parsed(body, names, |families| {
        let mut out = String::new();
        for family in &families.families {
            let (help, unit) = (family.help.as_deref(), family.unit.as_deref());
            let extra =
                |name: &str, text: Option<&str>| text.map_or(String::new(), |text| format!(" {name}={text}"));
            out += &format!(
                "{} {}{}{}\n",
                family.kind.upper(),
                family.name,
                extra("help", help),
                extra("unit", unit)
            );
            for position in family.series.range() {
                let series = &families.series[position];
                let labels: Vec<String> =
                    families.labels_of(series).iter().map(|l| format!("{}={}", l.name, l.value)).collect();
                out += &format!("  {{{}}} {}", labels.join(","), series.value);
                if family.kind.has_buckets() || family.kind == MetricType::Summary {
                    out += &format!(" of {}", number(series.count));
                }
                for part in families.parts_of(series) {
                    out += &format!(" {}:{}", part.bound, number(part.value));
                }
                let detail = families.details.iter().find(|detail| detail.series as usize == position);
                out += &detail.map_or(String::new(), |detail| extras(family.kind, detail));
                out.push('\n');
            }
        }
        out
    })
}

fn number(number: Number) -> String {
    match number {
        Number::Int(number) => number.to_string(),
        Number::Float(number) => format!("{number:?}"),
    }
}

fn extras(kind: MetricType, detail: &Detail<'_>) -> String {
    let (mut exemplars, created) = match kind {
        MetricType::Counter => {
            let counter = oracle::Counter::decode(&*detail.message).unwrap();
            (vec![(None, counter.exemplar)], counter.created_timestamp)
        }
        MetricType::Summary => {
            let summary = oracle::Summary::decode(&*detail.message).unwrap();
            (Vec::new(), summary.created_timestamp)
        }
        _ => {
            let histogram = oracle::Histogram::decode(&*detail.message).unwrap();
            let buckets = histogram.bucket.into_iter();
            (buckets.map(|b| (b.upper_bound, b.exemplar)).collect(), histogram.created_timestamp)
        }
    };
    let time = |t: oracle::Timestamp| format!("@{}.{:09}", t.seconds, t.nanos);
    let mut out = String::new();
    exemplars.retain(|(_, exemplar)| exemplar.is_some());
    for (bound, exemplar) in exemplars {
        let exemplar = exemplar.unwrap();
        out += " exemplar";
        out += &bound.map_or(String::new(), |bound| format!("[{bound}]"));
        for label in exemplar.label {
            out += &format!(" {}={}", label.name.unwrap(), label.value.unwrap());
        }
        out += &format!(" {}", exemplar.value.unwrap());
        out += &exemplar.timestamp.map(time).unwrap_or_default();
    }
    out + &created.map(|created| format!(" created{}", time(created))).unwrap_or_default()
}

#[track_caller]
fn check(body: &str, expected: &str) {
    assert_eq!(shown(body, NameRules::Legacy).as_deref(), Ok(expected), "{body}");
}

#[track_caller]
fn check_fault(body: &str, expected: &str) {
    let expected = format!("OpenMetrics parsing error in line {expected}");
    assert_eq!(shown(body, NameRules::Legacy), Err(expected), "{body}");
}

#[test]
fn counters() {
    check("# EOF\n", "");
    check("", "");
    check(
        "# HELP a help \\\"text\\\"\n# TYPE a counter\na_total{l=\"v\"} 17.0\na_created{l=\"v\"} 1520872607.123\n# EOF\n",
        "COUNTER a_total help=help \"text\"\n  {l=v} 17 created@1520872607.123000000\n",
    );
    // Created times find their series in any order of lines and labels; those of no series are dropped.
    check(
        "# TYPE a counter\na_created{x=\"1\",y=\"2\"} 5\na_total{x=\"2\",y=\"2\"} 1\na_total{y=\"2\",x=\"1\"} 2\na_created{x=\"9\"} 7\n# EOF\n",
        "COUNTER a_total\n  {x=2,y=2} 1\n  {y=2,x=1} 2 created@5.000000000\n",
    );
    check(
        "# TYPE a counter\na_total 1 # {trace_id=\"\\\"K\\\\\\n\",b=\"c\"} 0.5 1520879607.789\na_created 1.5e9\n",
        "COUNTER a_total\n  {} 1 exemplar trace_id=\"K\\\n b=c 0.5@1520879607.789000000 created@1500000000.000000000\n",
    );
    check("# TYPE a counter\na_total 1 # {} 0.5\n# EOF", "COUNTER a_total\n  {} 1 exemplar 0.5\n");
    check_fault("# TYPE a counter\na 1\n# EOF\n", "2: metric name \"a\" lacks the suffix of a counter");
}

#[test]
fn the_plain_types() {
    check(
        "# TYPE g gauge\n# UNIT g \n# HELP g \ng 1\n# TYPE u unknown\nu 2\nw{a=\"b\"} NaN\nx_total 3\nx_info 4\n# EOF\n",
        "GAUGE g\n  {} 1\nUNTYPED u\n  {} 2\nUNTYPED w\n  {a=b} NaN\nUNTYPED x_total\n  {} 3\nUNTYPED x_info\n  {} 4\n",
    );
    check(
        "# TYPE v info\n# HELP v What runs.\nv_info{name=\"pretty\",version=\"8.2\"} 1\n# EOF\n",
        "GAUGE v_info help=What runs.\n  {name=pretty,version=8.2} 1\n",
    );
    check("# TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 0\n# EOF\n", "GAUGE s\n  {s=a} 1\n  {s=b} 0\n");
    check_fault("# TYPE v info\nv_info 2\n", "2: \"2\" is no value of a info");
    check_fault("# TYPE v info\nv 1\n", "2: metric name \"v\" lacks the suffix of a info");
    check_fault("# TYPE s stateset\ns{s=\"a\"} 0.5\n", "2: \"0.5\" is no value of a stateset");
}

#[test]
fn units() {
    check(
        "# TYPE t_seconds counter\n# UNIT t_seconds seconds\nt_seconds_total 1\n# UNIT g_bytes bytes\n# TYPE g_bytes gauge\ng_bytes 1\n",
        "COUNTER t_seconds_total unit=seconds\n  {} 1\nGAUGE g_bytes unit=bytes\n  {} 1\n",
    );
    check_fault("# UNIT t seconds\n", "1: metric name \"t\" does not end in its unit \"seconds\"");
    check_fault(
        "# UNIT seconds seconds\n",
        "1: metric name \"seconds\" does not end in its unit \"seconds\"",
    );
    check_fault("# UNIT a_s s\n# UNIT a_s s\n", "2: second UNIT line for metric name \"a_s\"");
}

#[test]
fn distributions() {
    check(
        "# TYPE h histogram\nh_bucket{le=\"0.1\"} 8 # {} 0.054\nh_bucket{le=\"1.0\"} 11 # {id=\"K\"} 0.67 3\n\
         h_bucket{le=\"+Inf\"} 17\nh_count 17\nh_sum 324.5\nh_created 4.25\n# EOF\n",
        "HISTOGRAM h\n  {} 324.5 of 17 0.1:8 1:11 inf:17 exemplar[0.1] 0.054 exemplar[1] id=K 0.67@3.000000000 created@4.250000000\n",
    );
    check(
        "# TYPE h gaugehistogram\nh_bucket{le=\"1\"} 4 # {a=\"b\"} 1\nh_bucket{le=\"+Inf\"} 4.5\nh_gcount 4.5\nh_gsum -3\n# EOF\n",
        "GAUGE_HISTOGRAM h\n  {} -3 of 4.5 1:4.0 inf:4.5 exemplar[1] a=b 1\n",
    );
    check(
        "# TYPE s summary\ns{quantile=\"0.5\",a=\"b\"} 2\ns_count{a=\"b\"} 3\ns_sum{a=\"b\"} 4\ns_created{a=\"b\"} 1\n# EOF\n",
        "SUMMARY s\n  {a=b} 4 of 3 0.5:2.0 created@1.000000000\n",
    );
    check_fault(
        "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
        "2: expected float as value for 'le' label, got \"x\"",
    );
    check_fault("# TYPE h histogram\nh 1\n", "2: metric name \"h\" lacks the suffix of a histogram");
}

#[test]
fn timestamps_mark_the_body() {
    for timestamp in ["0", "1520879607.789", "-1.5e3"] {
        let body = format!("# TYPE a counter\na_total 1 {timestamp} # {{}} 1\na_created 5\n# EOF\n");
        assert_eq!(parsed(&body, NameRules::Legacy, |families| families.timestamped), Ok(true), "{body}");
    }
    let body =
        "b 1 1520879607.789\n# TYPE a counter\na_total 1 # {} 1\na_created 5 9\nc 1 NaN\nd 1 -1.5e3\n# EOF\n";
    let told = parsed(body, NameRules::Legacy, |families| {
        let name = |series: u32| {
            let holds = |family: &&Family<'_>| family.series.range().contains(&(series as usize));
            families.families.iter().find(holds).unwrap().name.to_string()
        };
        families.timestamps.iter().map(|(series, at)| (name(*series), *at)).collect::<Vec<_>>()
    });
    assert_eq!(told, Ok(vec![("b".into(), 1_520_879_607_789), ("d".into(), -1_500_000)]));
    check_fault("a 1 x\n", "1: expected number as timestamp, got \"x\"");
}

#[test]
fn exemplars_that_are_none() {
    let with = |exemplar: &str| format!("# TYPE a counter\na_total 1 # {exemplar}\n");
    for bad in [
        "",
        "x",
        "{",
        "{a=\"b\"",
        "{a=b} 1",
        "{a=\"b\";} 1",
        "{1=\"b\"} 1",
        "{a=\"\\x\"} 1",
        "{a=\"b\",a=\"c\"} 1",
        "{} x",
    ] {
        check_fault(&with(bad), &format!("2: invalid exemplar {}", quoted(bad.as_bytes())));
    }
    check_fault(&with("{}"), "2: expected one space, got \"\"");
    check_fault(&with("{} 1 x"), "2: expected number as timestamp, got \"x\"");
    check_fault(&with("{} 1 1e300"), "2: expected number as timestamp, got \"1e300\"");
    check_fault(&with("{} 1 2 3"), "2: invalid exemplar \"{} 1 2 3\"");
    let just = format!("{{a=\"{}\"}} 1", "\u{e9}".repeat(127));
    assert!(shown(&with(&just), NameRules::Legacy).is_ok());
    let long = format!("{{ab=\"{}\"}} 1", "\u{e9}".repeat(127));
    check_fault(
        &with(&long),
        &format!("2: labels of more than 128 characters in exemplar {}", quoted(long.as_bytes())),
    );
    check_fault("a 1 # {} 1\n", "1: metric name \"a\" cannot have exemplars");
    check_fault("# TYPE h histogram\nh_sum 1 # {} 1\n", "2: metric name \"h_sum\" cannot have exemplars");
}

#[test]
fn lines_that_are_none() {
    check_fault("a 1\n# EOF\n\n", "3: data after # EOF");
    check_fault("# EOF\na 1\n", "2: data after # EOF");
    check_fault("a 1", "1: unexpected end of input stream");
    check_fault("a 1\n\nb 1\n", "2: empty line");
    check_fault("# a comment\n", "1: expected HELP, TYPE, UNIT or EOF, got \"# a comment\"");
    check_fault("#EOF\n", "1: expected HELP, TYPE, UNIT or EOF, got \"#EOF\"");
    check_fault("# TYPE a untyped\n", "1: unknown metric type \"untyped\"");
    check_fault("# TYPE a  gauge\n", "1: unknown metric type \" gauge\"");
    check_fault(
        "# TYPE a gauge\n# TYPE a gauge\n",
        "2: second TYPE line for metric name \"a\", or TYPE reported after samples",
    );
    check_fault("1a 1\n", "1: expected metric name, got \"1a 1\"");
    check_fault("\"a\" 1\n", "1: expected metric name, got \"\\\"a\\\" 1\"");
    check_fault("a{b=\"}\\\"} 1\n", "1: labels without end: \"a{b=\\\"}\\\\\\\"} 1\"");
    check_fault("a  1\n", "1: expected one space, got \"  1\"");
    check_fault("a 1 \n", "1: expected one space, got \" \"");
    check_fault("a 1\r\n", "1: expected float as value, got \"1\\r\"");
    check_fault("a 0x1\n", "1: expected float as value, got \"0x1\"");
    check_fault("a{b=\"c\" 1\n", "1: labels without end: \"a{b=\\\"c\\\" 1\"");
    check_fault("a{b=\"c\",b=\"d\"} 1\n", "1: duplicate label names for metric \"a\"");
}

#[test]
fn quoted_names() {
    let body = "# TYPE \"a.b\" counter\n# HELP \"a.b\" h\n{\"a.b_total\",c=\"}\"} 1 # {\"d.e\"=\"f\"} 2\n{\"a.b_created\",c=\"}\"} 3\n# EOF\n";
    assert_eq!(
        shown(body, NameRules::Utf8).as_deref(),
        Ok("COUNTER a.b_total help=h\n  {c=}} 1 exemplar d.e=f 2 created@3.000000000\n")
    );
    check_fault("# TYPE \"a.b\" counter\n", "1: invalid metric name \"a.b_total\"");
    check_fault(body, "3: invalid exemplar \"{\\\"d.e\\\"=\\\"f\\\"} 2\"");
    let unit = "# TYPE \"a\\\\b_s\" counter\n# UNIT \"a\\\\b_s\" s\n{\"a\\\\b_s_total\"} 1\n";
    assert_eq!(shown(unit, NameRules::Utf8).as_deref(), Ok("COUNTER a\\b_s_total unit=s\n  {} 1\n"));
}

#[test]
fn times_to_the_nanosecond() {
    let time = |text: &str| {
        let mut field = Vec::new();
        exemplar::push_time(&mut field, 3, text.as_bytes()).map(|()| {
            let time = oracle::Timestamp::decode_length_delimited(&field[1..]).unwrap();
            (time.seconds, time.nanos)
        })
    };
    assert_eq!(time("1700000000.123456789"), Some((1_700_000_000, 123_456_789)));
    assert_eq!(time("0"), Some((0, 0)));
    assert_eq!(time("-0.25"), Some((-1, 750_000_000)));
    assert_eq!(time("1.5e0"), Some((1, 500_000_000)));
    assert_eq!(time("0.99999999999"), Some((1, 0)));
    for bad in ["", "NaN", "+Inf", "1e300", "253402300800", "x", "."] {
        assert_eq!(time(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_body_is_too_strange(
        lines in prop::collection::vec(prop::sample::select(vec![
            "# TYPE a counter\n", "a_total", "a_created", "{x=\"1\"}", " 1", " # {y=\"z\"} 2", "\n", "# EOF",
            "# TYPE h histogram\n", "h_bucket{le=\"1\"} 1", "h_count", "# UNIT a a\n", "# HELP a b", "{\"a_total\"}",
            " ", "\\", "\"", "}", "NaN", "1e9",
        ]), 0..24),
    ) {
        let body = lines.concat();
        for names in [NameRules::Legacy, NameRules::Utf8] {
            let _ = shown(&body, names);
        }
    }
}

/// Found by fuzzing: the exemplar was looked for among samples that were not kept.
#[test]
fn a_blank_within_a_value_is_a_timestamp() {
    let body = b"# TYPE c counter\nc_total 1 # {id=\"x\"} 0.5\nm 7\t2\n# EOF\n";
    let read = read(body, NameRules::Legacy).unwrap();
    let families = read.families(NameRules::Legacy, Families::default()).unwrap();
    assert!(families.timestamped && families.details.is_empty());
}

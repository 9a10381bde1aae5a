//! A second reader of the text format, slow and plain, that the real one is held against.
//!
//! It goes byte by byte, copies everything, searches by walking lists, and shares no code with the real
//! one but the reading of numbers and the quoting of errors, which have tests of their own.

use super::tests::described;
use super::*;
use crate::format::float::parse_float;
use crate::format::quote::quoted_byte;
use crate::model::{Family, Field, Label, MetricType, Number, Part, Series, Span};

pub(super) type Outcome<T> = Result<T, String>;

#[derive(Default)]
struct NaiveSeries {
    labels: Vec<(String, String)>,
    value: f64,
    count: f64,
    parts: Vec<(f64, f64)>,
}

struct NaiveFamily {
    name: String,
    help: Option<String>,
    kind: Option<MetricType>,
    series: Vec<NaiveSeries>,
}

struct Naive<'b> {
    body: &'b [u8],
    at: usize,
    names: NameRules,
    families: Vec<NaiveFamily>,
    /// The text of each sample's value, its family and series, and what it is.
    samples: Vec<(String, usize, usize, Field)>,
    timestamped: bool,
}

/// The families and sample spans of a body, or its error text.
pub(super) fn read_naively(body: &[u8], names: NameRules) -> Outcome<(Vec<String>, Vec<String>)> {
    let mut naive = Naive { body, at: 0, names, families: vec![], samples: vec![], timestamped: false };
    let mut line = 1;
    while naive.line().map_err(|text| format!("text format parsing error in line {line}: {text}"))? {
        line += 1;
    }
    Ok((naive.described(), naive.sample_lines()))
}

impl Naive<'_> {
    fn next(&mut self) -> Outcome<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Outcome<u8> {
        self.body.get(self.at).copied().ok_or("unexpected end of input stream".into())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Ok(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn word(&mut self) -> Outcome<Vec<u8>> {
        let mut word = vec![];
        while !matches!(self.peek()?, b' ' | b'\t' | b'\n') {
            word.push(self.next()?);
        }
        Ok(word)
    }

    fn rest_without_backslashes(&mut self) -> Outcome<Vec<u8>> {
        let mut rest = vec![];
        loop {
            match self.next()? {
                b'\n' => return Ok(rest),
                b'\\' => {}
                byte => rest.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Outcome<u8> {
        match self.next()? {
            b'n' => Ok(b'\n'),
            b'"' => Ok(b'"'),
            b'\\' => Ok(b'\\'),
            byte => Err(format!("invalid escape sequence '\\{}'", byte as char)),
        }
    }

    fn until_quote(&mut self, mut text: Vec<u8>, what: &str) -> Outcome<Vec<u8>> {
        loop {
            match self.next()? {
                b'"' => return Ok(text),
                b'\n' => return Err(format!("{what} {} contains unescaped new-line", quoted(&text))),
                b'\\' => text.push(self.escape()?),
                byte => text.push(byte),
            }
        }
    }

    fn name(&mut self, may_have_colon: bool, what: &str) -> Outcome<Vec<u8>> {
        let mut name = vec![];
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return self.until_quote(name, what);
                }
                byte @ (b'a'..=b'z' | b'A'..=b'Z' | b'_') => name.push(byte),
                byte @ b'0'..=b'9' if !name.is_empty() => name.push(byte),
                b':' if may_have_colon => name.push(b':'),
                _ => return Ok(name),
            }
            self.at += 1;
        }
    }

    fn line(&mut self) -> Outcome<bool> {
        self.blanks();
        if self.at == self.body.len() {
            return Ok(false);
        }
        match self.peek()? {
            b'\n' => self.at += 1,
            b'#' => self.comment()?,
            _ => self.sample()?,
        }
        Ok(true)
    }

    fn comment(&mut self) -> Outcome<()> {
        self.at += 1;
        self.blanks();
        let keyword = self.word()?;
        if keyword != b"HELP" && keyword != b"TYPE" {
            self.rest_without_backslashes()?;
            return Ok(());
        }
        self.blanks();
        let name = self.name(true, "metric name")?;
        match self.peek()? {
            b'\n' => {
                self.at += 1;
                return Ok(());
            }
            b' ' | b'\t' => {}
            _ => return Err("invalid metric name in comment".into()),
        }
        let (family, _) = self.family(&name)?;
        self.blanks();
        if self.peek()? == b'\n' {
            self.at += 1;
            return Ok(());
        }
        let shown = quoted(self.families[family].name.as_bytes());
        if keyword == b"HELP" {
            if self.families[family].help.is_some() {
                return Err(format!("second HELP line for metric name {shown}"));
            }
            let mut help = vec![];
            loop {
                match self.next()? {
                    b'\n' => break,
                    b'\\' => help.push(self.escape()?),
                    byte => help.push(byte),
                }
            }
            let help = String::from_utf8(help).map_err(|_| "help text is not valid UTF-8")?;
            self.families[family].help = Some(help);
            return Ok(());
        }
        if self.families[family].kind.is_some() {
            return Err(format!("second TYPE line for metric name {shown}, or TYPE reported after samples"));
        }
        let text = self.rest_without_backslashes()?;
        self.families[family].kind = Some(match text.to_ascii_lowercase().as_slice() {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"untyped" => MetricType::Untyped,
            b"summary" => MetricType::Summary,
            b"histogram" => MetricType::Histogram,
            b"gaugehistogram" | b"gauge_histogram" => MetricType::GaugeHistogram,
            _ => return Err(format!("unknown metric type {}", quoted(&text))),
        });
        Ok(())
    }

    /// The position of the family, and which suffix led to it.
    fn family(&mut self, name: &[u8]) -> Outcome<(usize, &'static str)> {
        let illegal = || format!("invalid metric name {}", quoted(name));
        let name = String::from_utf8(name.to_vec()).map_err(|_| illegal())?;
        if !self.names.is_metric_name(&name) {
            return Err(illegal());
        }
        let find = |name: &str| self.families.iter().position(|family| family.name == name);
        if let Some(family) = find(&name) {
            return Ok((family, ""));
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            let Some(family) = name.strip_suffix(suffix).and_then(find) else { continue };
            match self.families[family].kind {
                Some(MetricType::Summary) if suffix != "_bucket" => return Ok((family, suffix)),
                Some(MetricType::Histogram | MetricType::GaugeHistogram) => return Ok((family, suffix)),
                _ => {}
            }
        }
        self.families.push(NaiveFamily { name, help: None, kind: None, series: vec![] });
        Ok((self.families.len() - 1, ""))
    }

    fn special(&self, family: usize) -> &'static str {
        match self.families[family].kind {
            Some(MetricType::Summary) => "quantile",
            Some(MetricType::Histogram | MetricType::GaugeHistogram) => "le",
            _ => "",
        }
    }

    fn sample(&mut self) -> Outcome<()> {
        let mut target = None;
        let mut labels: Vec<(String, String)> = vec![];
        let mut bound = f64::NAN;
        let braces_first = self.peek()? == b'{';
        if !braces_first {
            let name = self.name(true, "metric name")?;
            if name.is_empty() {
                return Err("invalid metric name".into());
            }
            target = Some(self.settled(&name)?);
            self.blanks();
        }
        if self.peek()? == b'{' {
            self.at += 1;
            loop {
                self.blanks();
                if self.peek()? == b'}' {
                    break;
                }
                let metric = target.map_or(quoted(b""), |(family, _): (usize, _)| {
                    quoted(self.families[family].name.as_bytes())
                });
                let name = self.name(false, "label name")?;
                if name.is_empty() {
                    return Err(format!("invalid label name for metric {metric}"));
                }
                self.blanks();
                let next = self.peek()?;
                if next != b'=' {
                    if !braces_first {
                        return Err(format!("expected '=' after label name, found {}", quoted_byte(next)));
                    }
                    if target.is_some() {
                        return Err(format!("multiple metric names for metric {metric}"));
                    }
                    if next != b',' && next != b'}' {
                        return Err(format!("unexpected end of metric name {}", quoted_byte(next)));
                    }
                    let found = self.settled(&name)?;
                    target = Some(found);
                    let special = self.special(found.0);
                    for (_, value) in labels.iter().filter(|(name, _)| name == special) {
                        bound = read_bound(special, value)?;
                    }
                    labels.retain(|(name, _)| name != special);
                    let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
                    names.sort();
                    if names.windows(2).any(|pair| pair[0] == pair[1]) {
                        let metric = quoted(self.families[found.0].name.as_bytes());
                        return Err(format!("duplicate label names for metric {metric}"));
                    }
                } else {
                    self.at += 1;
                    if name == b"__name__" {
                        return Err("label name \"__name__\" is reserved".into());
                    }
                    let illegal = || format!("invalid label name {}", quoted(&name));
                    let name = String::from_utf8(name.clone()).map_err(|_| illegal())?;
                    if !self.names.is_label_name(&name) {
                        return Err(illegal());
                    }
                    let special = match target {
                        Some((family, _)) => self.special(family) == name,
                        None => name == "le" || name == "quantile",
                    };
                    if !special && labels.iter().any(|(other, _)| *other == name) {
                        return Err(format!("duplicate label names for metric {metric}"));
                    }
                    self.blanks();
                    let next = self.peek()?;
                    if next != b'"' {
                        let found = quoted_byte(next);
                        return Err(format!("expected '\"' at start of label value, found {found}"));
                    }
                    self.at += 1;
                    let value = self.until_quote(vec![], "label value")?;
                    let value = String::from_utf8(value)
                        .map_err(|error| format!("invalid label value {}", quoted(error.as_bytes())))?;
                    match target {
                        Some(_) if special => bound = read_bound(&name, &value)?,
                        _ => labels.push((name, value.clone())),
                    }
                    self.blanks();
                    if !matches!(self.peek()?, b',' | b'}') {
                        return Err(format!("unexpected end of label value {}", quoted(value.as_bytes())));
                    }
                }
                if self.peek()? == b',' {
                    self.at += 1;
                }
            }
            self.at += 1;
            self.blanks();
        }
        let (family, suffix) = target.ok_or("invalid metric name")?;
        let word = self.word()?;
        let value = parse_float(&word).ok_or(format!("expected float as value, got {}", quoted(&word)))?;
        self.add(family, suffix, labels, bound, value, String::from_utf8(word).unwrap())?;
        if self.peek()? == b'\n' {
            self.at += 1;
            return Ok(());
        }
        self.blanks();
        let word = self.word()?;
        if !String::from_utf8(word.clone()).is_ok_and(|word| word.parse::<i64>().is_ok()) {
            return Err(format!("expected integer as timestamp, got {}", quoted(&word)));
        }
        let rest = self.rest_without_backslashes()?;
        if !rest.is_empty() {
            return Err(format!("spurious string after timestamp: {}", quoted(&rest)));
        }
        self.timestamped = true;
        Ok(())
    }

    fn settled(&mut self, name: &[u8]) -> Outcome<(usize, &'static str)> {
        let (family, suffix) = self.family(name)?;
        self.families[family].kind.get_or_insert(MetricType::Untyped);
        Ok((family, suffix))
    }

    fn add(
        &mut self,
        family: usize,
        suffix: &str,
        labels: Vec<(String, String)>,
        bound: f64,
        value: f64,
        text: String,
    ) -> Outcome<()> {
        let special = self.special(family);
        let shown = quoted(self.families[family].name.as_bytes());
        let all = &mut self.families[family].series;
        if special.is_empty() {
            all.push(NaiveSeries { labels, value, ..NaiveSeries::default() });
            self.samples.push((text, family, all.len() - 1, Field::Value));
            return Ok(());
        }
        let sorted = |labels: &[(String, String)]| {
            let mut labels = labels.to_vec();
            labels.sort();
            labels
        };
        let series = all.iter().position(|series| sorted(&series.labels) == sorted(&labels));
        let series = series.unwrap_or_else(|| {
            all.push(NaiveSeries { labels, ..NaiveSeries::default() });
            all.len() - 1
        });
        let parts = &mut all[series].parts;
        let field = match suffix {
            "_sum" => {
                all[series].value = value;
                Field::Value
            }
            "_count" => {
                if value < 0.0 {
                    let kind = if special == "le" { "histogram" } else { "summary" };
                    return Err(format!("negative count for {kind} {shown}"));
                }
                all[series].count = value;
                Field::Count
            }
            _ if bound.is_nan() => Field::Ignored,
            _ => {
                if special == "le" && value < 0.0 {
                    return Err(format!("negative bucket population for histogram {shown}"));
                }
                parts.push((bound, value));
                Field::Part(parts.len() as u32 - 1)
            }
        };
        self.samples.push((text, family, series, field));
        Ok(())
    }

    fn described(&self) -> Vec<String> {
        let mut families = Families::default();
        for family in self.families.iter().filter(|family| !family.series.is_empty()) {
            let kind = family.kind.unwrap();
            let start = families.series.len() as u32;
            for series in &family.series {
                let whole = |count: f64| count < 2f64.powi(64) && count.fract() == 0.0;
                let is_float = kind.has_buckets()
                    && !(whole(series.count) && series.parts.iter().all(|part| whole(part.1)));
                let count = |count: f64| match kind {
                    MetricType::Summary if whole(count.trunc()) => Number::Int(count as u64),
                    MetricType::Summary => Number::Int(1 << 63),
                    _ if is_float => Number::Float(count),
                    _ => Number::Int(count as u64),
                };
                let labels = Span {
                    start: families.labels.len() as u32,
                    end: (families.labels.len() + series.labels.len()) as u32,
                };
                families.labels.extend(
                    series.labels.iter().map(|(name, value)| Label {
                        name: name.clone().into(),
                        value: value.clone().into(),
                    }),
                );
                let parts = Span {
                    start: families.parts.len() as u32,
                    end: (families.parts.len() + series.parts.len()) as u32,
                };
                families.parts.extend(series.parts.iter().map(|&(bound, value)| Part {
                    bound,
                    value: if kind == MetricType::Summary { Number::Float(value) } else { count(value) },
                }));
                families.series.push(Series {
                    labels,
                    parts,
                    value: series.value,
                    count: count(series.count),
                });
            }
            families.families.push(Family {
                name: family.name.clone().into(),
                help: family.help.clone().map(Cow::Owned),
                unit: None,
                kind,
                series: Span { start, end: families.series.len() as u32 },
            });
        }
        described(&families)
    }

    fn sample_lines(&self) -> Vec<String> {
        if self.timestamped {
            return vec![];
        }
        let line = |(text, family, series, field): &(String, usize, usize, Field)| {
            format!("{text} {} {series} {field:?}", self.families[*family].name)
        };
        self.samples.iter().map(line).collect()
    }
}

fn read_bound(label: &str, value: &str) -> Outcome<f64> {
    parse_float(value.as_bytes())
        .ok_or(format!("expected float as value for '{label}' label, got {}", quoted(value.as_bytes())))
}

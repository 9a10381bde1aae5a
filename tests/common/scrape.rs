//! An exposition in text form, as a reader sees it.

/// First words of the names of our own families.
const OWN: [&str; 3] = ["floodway_", "process_", "pushgateway_"];

/// The families that every group has.
const TIMES: [&str; 2] = ["push_time_seconds", "push_failure_time_seconds"];

/// One scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub text: String,
}

impl Scrape {
    pub fn new(text: &str) -> Scrape {
        assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
        Scrape { text: text.to_owned() }
    }

    /// The lines whose name `wanted` takes, in their order, each with its line feed.
    fn lines_where(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.text.lines().filter(|line| wanted(name_of(line))).map(|line| format!("{line}\n")).collect()
    }

    /// Without our own families and the push times.
    pub fn pushed(&self) -> String {
        self.lines_where(|name| !OWN.iter().any(|own| name.starts_with(own)) && !TIMES.contains(&name))
    }

    /// Comments and samples of exactly this name.
    pub fn family(&self, name: &str) -> String {
        self.lines_where(|found| found == name)
    }

    /// The sample lines of this name, sorted: the order of groups is not promised.
    pub fn samples(&self, name: &str) -> Vec<&str> {
        let mut lines: Vec<&str> =
            self.text.lines().filter(|line| !line.starts_with('#') && name_of(line) == name).collect();
        lines.sort_unstable();
        lines
    }

    /// The value of a series, written as in the exposition: `m{instance="",job="j"}`.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Names in `# TYPE` lines, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.text.lines().filter(|line| line.starts_with("# TYPE ")).map(name_of).collect()
    }

    /// When a group was last pushed to with success, and when last without; labels as in a series.
    #[track_caller]
    pub fn times(&self, labels: &str) -> (f64, f64) {
        let time = |name| self.value(&format!("{name}{{{labels}}}")).expect(labels);
        (time(TIMES[0]), time(TIMES[1]))
    }

    /// Whether the group with these labels has push times.
    pub fn has_group(&self, labels: &str) -> bool {
        self.value(&format!("push_time_seconds{{{labels}}}")).is_some()
    }
}

/// The metric name of a sample or comment line, without quotes.
fn name_of(line: &str) -> &str {
    let rest = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    let quoted = rest.strip_prefix("{\"").or(rest.strip_prefix('"'));
    match quoted {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(['{', ' ']).next().unwrap(),
    }
}

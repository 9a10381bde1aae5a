//! Where the routes lie and where links point, worked out from three flags.

/// The prefixes and the metrics path, all computed and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// In front of every route: empty, or a slash and no slash at the end.
    pub route_prefix: String,
    /// In front of links in the page: likewise, from the path of the external URL. Empty asks for
    /// links relative to the page.
    pub link_prefix: String,
    /// Where GET serves the exposition, prefix included.
    pub metrics: String,
    /// The part of `metrics` after the route prefix, for links.
    pub metrics_link: String,
}

impl Paths {
    /// Computes them from `--web.route-prefix`, the path of `--web.external-url`, and
    /// `--web.telemetry-path`.
    ///
    /// # Errors
    ///
    /// The metrics path is empty, relative, or taken by another route. The reference panics then.
    pub fn new(route_prefix: &str, external_path: &str, telemetry_path: &str) -> Result<Paths, String> {
        let link_prefix = normalised(external_path);
        let route_prefix =
            if route_prefix.is_empty() { link_prefix.clone() } else { normalised(route_prefix) };
        let metrics = joined(&route_prefix, telemetry_path);
        if !metrics.starts_with('/') {
            return Err(format!("--web.telemetry-path must begin with a slash: {telemetry_path:?}"));
        }
        // A path such as `../x` climbs out of the prefix, where no proxy would look for it.
        let metrics_link = match metrics.strip_prefix(route_prefix.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.to_owned(),
            _ => {
                return Err(format!(
                    "--web.telemetry-path leads out of the route prefix: {telemetry_path:?}"
                ));
            }
        };
        let taken =
            ["/", "/status", "/-/healthy", "/-/ready", "/-/quit", "/api/v1", "/static", "/debug/pprof"];
        let below = ["/api/v1/", "/static/", "/debug/pprof/"];
        if taken.contains(&metrics_link.as_str())
            || below.iter().any(|prefix| metrics_link.starts_with(prefix))
            || metrics == "/-/quit"
        {
            return Err(format!("--web.telemetry-path is taken by another route: {metrics:?}"));
        }
        Ok(Paths { route_prefix, link_prefix, metrics, metrics_link })
    }
}

/// One slash in front, none at the end; `/` and nothing become nothing.
fn normalised(prefix: &str) -> String {
    if prefix.is_empty() || prefix == "/" {
        return String::new();
    }
    let slash = if prefix.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", prefix.strip_suffix('/').unwrap_or(prefix))
}

/// Joins as Go's `path.Join`: one slash between elements, `.` and `..` resolved, none at the end.
fn joined(prefix: &str, path: &str) -> String {
    let whole = if prefix.is_empty() { path.to_owned() } else { format!("{prefix}/{path}") };
    let mut elements: Vec<&str> = Vec::new();
    for element in whole.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(elements.pop()),
            _ => elements.push(element),
        }
    }
    let slash = if whole.starts_with('/') { "/" } else { "" };
    format!("{slash}{}", elements.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(route_prefix: &str, external_path: &str, telemetry_path: &str, expect: &str) {
        let got = match Paths::new(route_prefix, external_path, telemetry_path) {
            Ok(paths) => format!(
                "{} {} {} {}",
                paths.route_prefix, paths.link_prefix, paths.metrics, paths.metrics_link
            ),
            Err(err) => err,
        };
        assert_eq!(got, expect, "{route_prefix} {external_path} {telemetry_path}");
    }

    #[test]
    fn prefixes() {
        check("", "", "/metrics", "  /metrics /metrics");
        check("/", "", "/metrics", "  /metrics /metrics");
        check("pre/", "", "/metrics", "/pre  /pre/metrics /metrics");
        check("", "/pre/", "/metrics", "/pre /pre /pre/metrics /metrics");
        check("/", "/ext", "/metrics", " /ext /metrics /metrics");
        check("", "foo.bar/x", "/metrics", "/foo.bar/x /foo.bar/x /foo.bar/x/metrics /metrics");
        check("/pre", "", "tele/metrics/", "/pre  /pre/tele/metrics /tele/metrics");
        check("/pre", "", "", "/pre  /pre ");
        check("", "", "//tele//./x/../metrics", "  /tele/metrics /tele/metrics");
    }

    #[test]
    fn metrics_paths_that_cannot_be_served() {
        check("", "", "", "--web.telemetry-path must begin with a slash: \"\"");
        check("", "", "metrics", "--web.telemetry-path must begin with a slash: \"metrics\"");
        check("", "", "/", "--web.telemetry-path is taken by another route: \"/\"");
        check("/pre", "", "status", "--web.telemetry-path is taken by another route: \"/pre/status\"");
        check(
            "",
            "",
            "/api/v1/metrics",
            "--web.telemetry-path is taken by another route: \"/api/v1/metrics\"",
        );
        check("/pre", "", "../x", "--web.telemetry-path leads out of the route prefix: \"../x\"");
        check("/pre", "", "../prefix", "--web.telemetry-path leads out of the route prefix: \"../prefix\"");
    }
}

//! From method and path to what is to be done.
//!
//! Two routers, as the reference has them: one for everything under `P/api/v1/`, which sees the path
//! without that prefix (and loses it in its redirects), and one for all other paths. `P` is the route
//! prefix. A method without any route in a router is never redirected by it.

use super::redirect;
use super::response::Answer;
use super::target::{Target, cleaned};

/// Which paths exist; fixed at start.
#[derive(Clone, Debug)]
pub struct Routes {
    /// `P`: empty, or beginning with `/` and not ending with one.
    pub prefix: String,
    /// Where the exposition is, prefix included: `P/metrics` by default.
    pub telemetry_path: String,
    /// Whether `/-/quit` stops the server.
    pub lifecycle: bool,
    /// Whether `P/api/v1/admin/` exists.
    pub admin_api: bool,
    /// Whether `P/metrics` takes pushes to no group.
    pub bare_pushes: bool,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'p> {
    Scrape,
    Push(PushPath<'p>),
    Page,
    Healthy,
    Ready,
    Quit,
    /// Reads plugins anew.
    Reload,
    /// GET on `/-/quit`, which has an answer of its own.
    QuitByGet,
    /// The page of one group.
    Group(PushPath<'p>),
    /// The form on it, or the one that deletes all groups.
    Form(Option<PushPath<'p>>),
    ApiStatus,
    ApiMetrics,
    ApiGroups,
    ApiGroup(PushPath<'p>),
    ApiRejections,
    ApiLimits,
    ApiPlugins,
    /// A push that is only tried out.
    ApiValidate(PushPath<'p>),
    ApiOptions,
    Wipe,
}

/// The parts of a push path, decoded: `P/metrics/job/JOB` or `P/metrics/job@base64/JOB` and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushPath<'p> {
    pub job: &'p [u8],
    pub job_is_base64: bool,
    /// What follows the job, with its leading slash, or nothing.
    pub rest: &'p [u8],
}

impl PushPath<'static> {
    /// Names no group: the path of a bare push.
    pub const BARE: PushPath<'static> = PushPath { job: b"", job_is_base64: false, rest: b"" };
}

impl PushPath<'_> {
    /// Whether it names no group; all other paths have something for the job.
    pub fn is_bare(&self) -> bool {
        self.job.is_empty()
    }
}

/// The outcome of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed<'p> {
    To(Route<'p>),
    /// The router itself has the answer: a redirect, 404, 405, or the methods of a path.
    Answered(Answer),
}

/// Which router a path belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Router {
    /// The main one; a content coding is looked at before it.
    Main,
    /// The API; this many bytes of the path are `P/api/v1`.
    Api(usize),
    Answered(Answer),
}

/// Methods that have routes, sorted.
const METHODS: [&str; 4] = ["DELETE", "GET", "POST", "PUT"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Folded,
}

impl Routes {
    /// The step before both routers: `*`, paths that are not clean, and the choice of the router.
    pub fn router(&self, method: &[u8], target: &Target<'_>) -> Router {
        if target.asterisk {
            let answer = if method == b"OPTIONS" { Answer::empty(200) } else { Answer::empty(400).closing() };
            return Router::Answered(answer);
        }
        if method != b"CONNECT"
            && let Some(clean) = cleaned(&target.path)
        {
            return Router::Answered(redirect::to_clean(method, &clean, target));
        }
        let api =
            target.path.strip_prefix(self.prefix.as_bytes()).and_then(|path| path.strip_prefix(b"/api/v1"));
        match api {
            Some([]) => {
                let slashed = [&target.path, &b"/"[..]].concat();
                Router::Answered(redirect::to_clean(method, &slashed, target))
            }
            Some([b'/', ..]) => Router::Api(self.prefix.len() + "/api/v1".len()),
            _ => Router::Main,
        }
    }

    /// The main router.
    pub fn main<'p>(&self, method: &[u8], path: &'p [u8], target: &Target<'_>) -> Routed<'p> {
        if let Some(route) = self.find(method, path, Case::Exact) {
            return Routed::To(route);
        }
        let find = |method: &[u8], path: &[u8], case| self.find(method, path, case).is_some();
        let mut fixed = fixed_spelling(method, path, find).map(|path| self.proper_case(&path));
        // The reference's tree has a node for the job without one, and a redirect away from it.
        if fixed.is_none()
            && matches!(method, b"DELETE" | b"POST" | b"PUT")
            && path.strip_prefix(self.prefix.as_bytes()) == Some(b"/metrics/job/")
        {
            fixed = Some(path[..path.len() - 1].to_vec());
        }
        Routed::Answered(unrouted(method, path, target, fixed, find))
    }

    /// The API's router; `path` is without `P/api/v1`.
    pub fn api<'p>(&self, method: &[u8], path: &'p [u8], target: &Target<'_>) -> Routed<'p> {
        if method == b"OPTIONS" {
            return Routed::To(Route::ApiOptions);
        }
        if let Some(route) = self.find_api(method, path, Case::Exact) {
            return Routed::To(route);
        }
        let find = |method: &[u8], path: &[u8], case| self.find_api(method, path, case).is_some();
        let fixed = fixed_spelling(method, path, find).map(|path| path.to_ascii_lowercase());
        Routed::Answered(unrouted(method, path, target, fixed, find))
    }

    fn find<'p>(&self, method: &[u8], path: &'p [u8], case: Case) -> Option<Route<'p>> {
        let under_prefix = strip(path, &self.prefix, case);
        match method {
            b"GET" => {
                if is(path, &self.telemetry_path, case) {
                    return Some(Route::Scrape);
                }
                if is(path, "/-/quit", case) {
                    return Some(Route::QuitByGet);
                }
                let path = under_prefix?;
                if let Some(group) = page_path(path, case) {
                    return Some(Route::Group(group));
                }
                [
                    ("/", Route::Page),
                    ("/status", Route::Page),
                    ("/-/healthy", Route::Healthy),
                    ("/-/ready", Route::Ready),
                ]
                .into_iter()
                .find(|(pattern, _)| is(path, pattern, case))
                .map(|(_, route)| route)
            }
            b"PUT" | b"POST" if is(under_prefix?, "/-/quit", case) => Some(Route::Quit),
            b"PUT" | b"POST" if is(under_prefix?, "/-/reload", case) => Some(Route::Reload),
            b"POST" if self.admin_api && is(under_prefix?, "/groups", case) => Some(Route::Form(None)),
            b"POST" if page_path(under_prefix?, case).is_some() => {
                Some(Route::Form(page_path(under_prefix?, case)))
            }
            b"PUT" | b"POST" | b"DELETE" if self.bare_pushes && is(under_prefix?, "/metrics", case) => {
                Some(Route::Push(PushPath::BARE))
            }
            b"PUT" | b"POST" | b"DELETE" => push_path(under_prefix?, case).map(Route::Push),
            _ => None,
        }
    }

    fn find_api<'p>(&self, method: &[u8], path: &'p [u8], case: Case) -> Option<Route<'p>> {
        match method {
            b"GET" if is(path, "/status", case) => Some(Route::ApiStatus),
            b"GET" if is(path, "/metrics", case) => Some(Route::ApiMetrics),
            b"GET" if is(path, "/groups", case) => Some(Route::ApiGroups),
            b"GET" if is(path, "/rejections", case) => Some(Route::ApiRejections),
            b"GET" if is(path, "/limits", case) => Some(Route::ApiLimits),
            b"GET" if is(path, "/plugins", case) => Some(Route::ApiPlugins),
            b"GET" => page_path(path, case).map(Route::ApiGroup),
            b"PUT" if self.admin_api && is(path, "/admin/wipe", case) => Some(Route::Wipe),
            b"PUT" | b"POST" => {
                group_path(path, "/validate", case).filter(|_| case == Case::Exact).map(Route::ApiValidate)
            }
            _ => None,
        }
    }

    /// The path as its route spells it. Job and labels stay as sent.
    fn proper_case(&self, path: &[u8]) -> Vec<u8> {
        if is(path, &self.telemetry_path, Case::Folded) {
            return self.telemetry_path.clone().into_bytes();
        }
        let Some(below) = strip(path, &self.prefix, Case::Folded) else { return path.to_ascii_lowercase() };
        let mut proper = self.prefix.clone().into_bytes();
        match push_path(below, Case::Folded) {
            Some(PushPath { job, job_is_base64, rest }) => {
                let start: &[u8] = if job_is_base64 { b"/metrics/job@base64/" } else { b"/metrics/job/" };
                proper.extend_from_slice(start);
                proper.extend_from_slice(job);
                proper.extend_from_slice(rest);
            }
            None => proper.extend(below.iter().map(u8::to_ascii_lowercase)),
        }
        proper
    }
}

fn push_path(path: &[u8], case: Case) -> Option<PushPath<'_>> {
    group_path(path, "/metrics", case)
}

/// The path of a group's page. Only as we spell it: nobody types it, so no other spelling is led there.
fn page_path(path: &[u8], case: Case) -> Option<PushPath<'_>> {
    group_path(path, "/group", case).filter(|_| case == Case::Exact)
}

/// The path of a group below `folder`.
fn group_path<'p>(path: &'p [u8], folder: &str, case: Case) -> Option<PushPath<'p>> {
    let below = strip(path, folder, case)?;
    let (job_is_base64, after) = match strip(below, "/job/", case) {
        Some(after) => (false, after),
        None => (true, strip(below, "/job@base64/", case)?),
    };
    let job_end = memchr::memchr(b'/', after).unwrap_or(after.len());
    let (job, rest) = after.split_at(job_end);
    (!job.is_empty()).then_some(PushPath { job, job_is_base64, rest })
}

fn is(path: &[u8], pattern: &str, case: Case) -> bool {
    match case {
        Case::Exact => path == pattern.as_bytes(),
        Case::Folded => path.eq_ignore_ascii_case(pattern.as_bytes()),
    }
}

fn strip<'p>(path: &'p [u8], start: &str, case: Case) -> Option<&'p [u8]> {
    let (head, rest) = path.split_at_checked(start.len())?;
    is(head, start, case).then_some(rest)
}

/// Another spelling of the path that has a route for this method: with the trailing slash added or
/// removed, else in another case, else both.
fn fixed_spelling(method: &[u8], path: &[u8], find: impl Fn(&[u8], &[u8], Case) -> bool) -> Option<Vec<u8>> {
    if path.is_empty() || path == b"/" || method == b"CONNECT" {
        return None;
    }
    let slash_turned = match path.strip_suffix(b"/") {
        Some(without) => without.to_vec(),
        None => [path, b"/"].concat(),
    };
    if find(method, &slash_turned, Case::Exact) {
        Some(slash_turned)
    } else if find(method, path, Case::Folded) {
        Some(path.to_vec())
    } else if find(method, &slash_turned, Case::Folded) {
        Some(slash_turned)
    } else {
        None
    }
}

/// The router's own answer to a path without a handler for this method.
fn unrouted(
    method: &[u8],
    path: &[u8],
    target: &Target<'_>,
    fixed: Option<Vec<u8>>,
    find: impl Fn(&[u8], &[u8], Case) -> bool,
) -> Answer {
    if let Some(fixed) = fixed {
        return redirect::to_route(method, &fixed, target);
    }
    let mut allow = String::new();
    for candidate in METHODS {
        if find(candidate.as_bytes(), path, Case::Exact) {
            // `OPTIONS` belongs between GET and POST.
            if candidate > "OPTIONS" && !allow.contains("OPTIONS") {
                allow.push_str("OPTIONS, ");
            }
            allow.push_str(candidate);
            allow.push_str(", ");
        }
    }
    if allow.is_empty() {
        return Answer::error(404, "404 page not found");
    }
    if !allow.contains("OPTIONS") {
        allow.push_str("OPTIONS, ");
    }
    allow.truncate(allow.len() - 2);
    if method == b"OPTIONS" {
        Answer::empty(200).header("Allow", allow)
    } else {
        Answer::error(405, "Method Not Allowed").header("Allow", allow)
    }
}

#[cfg(test)]
mod tests;

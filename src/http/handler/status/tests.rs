//! What the pages show, and that what pushers wrote stays text.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::clock::UnixNanos;
use crate::config::{Info, Paths};
use crate::gateway::{Gateway, Mode, Settings};
use crate::http::Body;
use crate::model::{GroupingKey, NameRules};
use crate::telemetry::Telemetry;

fn site_of(pushes: &[(GroupingKey, &str)], paths: Paths) -> Site {
    let settings = Settings { names: NameRules::Utf8, ..Settings::default() };
    let gateway = Arc::new(Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap());
    for (key, body) in pushes {
        let body = Bytes::from((*body).to_owned());
        // Refused pushes are shown too.
        let _ = gateway.push(Mode::ReplaceFamilies, key, None, &body, Now::read());
    }
    let flags = vec![("web.external-url", "http://a/?<b>".to_owned())];
    let info = Info { flags, started: UnixNanos(1), paths };
    Site::new(gateway, Arc::new(info), true).unwrap()
}

fn html(answer: &Answer) -> String {
    assert_eq!(answer.status, 200);
    let Body::Whole(html) = &answer.body else { panic!("a page is one piece") };
    String::from_utf8(html.to_vec()).unwrap()
}

fn list(site: &Site, query: &str) -> String {
    html(&page(site, query.as_bytes(), &Identity::default()))
}

fn page_of(pushes: &[(GroupingKey, &str)], paths: Paths) -> String {
    list(&site_of(pushes, paths), "")
}

fn group_of(site: &Site, key: &GroupingKey) -> String {
    html(&group(site, key, &Identity::default()))
}

#[test]
fn what_pushers_send_is_escaped() {
    let key = GroupingKey::new("<script>alert(1)</script>", [("a-b", "\"'&"), ("z", "1")]);
    let body = "# HELP m <script>alert(2)</script>\nm{b=\"<script>alert(3)</script>\"} 1\n";
    let site = site_of(&[(key.clone(), body)], Paths::default());
    let search = list(&site, "search=%3Cscript%3E");
    for html in [&list(&site, ""), &search, &group_of(&site, &key)] {
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("job=&#34;&#60;script&#62;alert(1)&#60;/script&#62;&#34;"), "{html}");
        assert!(html.contains("&#34;a-b&#34;=&#34;\\&#34;&#39;&#38;&#34;"), "{html}");
    }
    assert!(search.contains("value=\"&#60;script&#62;\""), "{search}");
    assert!(search.contains("http://a/?&#60;b&#62;"));
    let html = group_of(&site, &key);
    assert!(html.contains("b=&#34;&#60;script&#62;alert(3)") && html.contains("UNTYPED"), "{html}");
}

#[test]
fn the_policy_allows_only_the_style_of_this_page() {
    let site = site_of(&[], Paths::default());
    let answer = page(&site, b"", &Identity::default());
    let policy = &answer.headers.iter().find(|header| header.0 == "Content-Security-Policy").unwrap().1;
    let (_, nonce) = policy.split_once("'nonce-").unwrap();
    let nonce = nonce.split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(html(&answer).contains(&format!("<style nonce=\"{nonce}\">")));
    assert!(policy.starts_with("default-src 'none'; "));
    assert!(!list(&site, "").contains(nonce));
}

#[test]
fn links_follow_the_link_prefix_or_lead_up_from_where_the_page_is() {
    let key = GroupingKey::new("a/b", [("l", "v")]);
    let pushes = [(key.clone(), "m 1\n")];
    let site = site_of(&pushes, Paths::new("", "/ext", "/tele/metry").unwrap());
    assert!(list(&site, "").contains("href=\"/ext/tele/metry\""));
    assert!(list(&site, "").contains("href=\"/ext/group/job@base64/YS9i/l/v\""));
    assert!(group_of(&site, &key).contains("action=\"/ext/group/job@base64/YS9i/l/v\""));
    let site = site_of(&pushes, Paths::new("/pre", "", "/metrics").unwrap());
    assert!(list(&site, "").contains("href=\"./metrics\""));
    // The page lies at `/pre/group/job@base64/YS9i/l/v`.
    assert!(group_of(&site, &key).contains("href=\"../../../../metrics\""));
}

#[test]
fn failed_groups_and_counts() {
    let good = (GroupingKey::new("good", []), "a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 2\n");
    let bad = (GroupingKey::new("bad", []), "a 1 7\n");
    let html = page_of(&[good, bad.clone()], Paths::default());
    assert_eq!(html.matches("Last push failed").count(), 1);
    assert!(html.contains("2 groups") && html.contains("with 3 series"), "{html}");
    assert!(html.contains(">never<"), "{html}");
    // Nobody scraped, which would have told telemetry too.
    assert!(html.contains("<td class=\"nowrap\">groups</td><td class=\"number\">2</td>"), "{html}");
    let site = site_of(&[bad], Paths::default());
    assert!(group_of(&site, &GroupingKey::new("bad", [])).contains("The last push failed!"));
}

#[test]
fn groups_are_found_sorted_and_paged() {
    let names: Vec<String> = (0..120).map(|i| format!("job{i:03}")).collect();
    let pushes: Vec<_> = names.iter().map(|name| (GroupingKey::new(name, []), "m 1\n")).collect();
    let site = site_of(&pushes, Paths::default());
    let shown = |query: &str| {
        let html = list(&site, query);
        names
            .iter()
            .filter(|name| html.contains(&format!("/group/job/{name}\"")))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(""), names[..50]);
    assert_eq!(shown("page=3"), names[100..]);
    assert_eq!(shown("search=JOB11"), names[110..]);
    assert_eq!(shown("search=nothing"), [""; 0]);
    assert_eq!(shown("page=x&sort=nonsense"), names[..50]);
    assert_eq!(shown("page=99999999999999999999"), names[..50]);
    let second = list(&site, "page=2&search=job&sort=newest");
    assert!(second.contains("?search=job&#38;sort=newest&#38;page=3"), "{second}");
    assert!(second.contains("?search=job&#38;sort=newest\""), "{second}");
    assert!(second.contains("51–100 of 120"), "{second}");
}

#[test]
fn values_are_shown_drawn_and_bounded() {
    let lines: String = (0..150).map(|i| format!("m{{i=\"{i}\"}} {i}.25\n")).collect();
    let body = format!(
        "{lines}# TYPE h histogram\nh_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 3\nh_sum 4\nh_count 3\n"
    );
    let key = GroupingKey::new("j", []);
    let html = group_of(&site_of(&[(key.clone(), &body)], Paths::default()), &key);
    assert!(html.contains(">99.25</td>") && !html.contains(">100.25</td>"), "{html}");
    assert!(html.contains("The first 100 of 150 series are shown"), "{html}");
    assert!(html.contains("<title>≤ 1: 2</title>") && html.contains("3 samples, sum 4"), "{html}");
}

#[test]
fn a_group_that_is_not_there_is_404() {
    let answer = group(&site_of(&[], Paths::default()), &GroupingKey::new("j", []), &Identity::default());
    assert_eq!(answer.status, 404);
}

#[test]
fn refused_pushes_are_listed() {
    let site = site_of(&[], Paths::default());
    assert!(list(&site, "").contains("No push was refused"));
    site.gateway.telemetry().journal().note(crate::telemetry::journal::Rejection {
        at: UnixNanos(1),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        identity: "user \"ada\"".to_owned(),
        method: "PUT",
        job: "<b>".to_owned(),
        labels: String::new(),
        status: 400,
        reason: "malformed",
        plugin: String::new(),
        text: "expected float".to_owned(),
    });
    let html = list(&site, "");
    assert!(
        html.contains("&#60;b&#62;") && html.contains("expected float") && html.contains("PUT 400"),
        "{html}"
    );
}

#[test]
fn durations() {
    for (seconds, expect) in [(5, "5s"), (125, "2m 5s"), (7_260, "2h 1m"), (90_000, "1d 1h")] {
        assert_eq!(duration(std::time::Duration::from_secs(seconds)), expect);
    }
}

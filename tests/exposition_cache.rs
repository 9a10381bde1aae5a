//! What is kept ready for scrapers: tags that spare an answer, the limit, and scrapers that do not read.

mod common;

use common::{Server, request_bytes};

/// More than the kernel takes for a client that reads nothing.
const GROUPS: usize = 24;
const SERIES: usize = 5000;

fn push_everything(server: &Server, value: usize) {
    let mut connection = server.connect();
    let label = "x".repeat(60);
    let body: String = (0..SERIES).map(|i| format!("m{{i=\"{i}\",l=\"{label}\"}} {value}\n")).collect();
    for group in 0..GROUPS {
        let path = format!("/metrics/job/j/group/{group}");
        connection.send("PUT", &path, &[], body.as_bytes()).is_empty_with(200);
    }
}

#[test]
fn a_scraper_that_has_everything_is_told_so() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\n");
    let tag_of = |headers: &[(&str, &str)]| {
        let answer = server.send("GET", "/metrics", headers, b"");
        (answer.status, answer.header("Etag").unwrap().to_owned(), answer.body.is_empty())
    };
    let (status, tag, _) = tag_of(&[]);
    assert_eq!(status, 200);
    assert!(tag.starts_with("W/\""), "{tag}");
    // Our own metrics have changed by now; nothing that was pushed has.
    for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
        assert_eq!(tag_of(&[("If-None-Match", &known)]), (304, tag.clone(), true), "{known}");
    }
    assert_eq!(tag_of(&[("If-None-Match", "W/\"other\"")]).0, 200);
    let (status, zipped, _) = tag_of(&[("If-None-Match", &tag), ("Accept-Encoding", "gzip")]);
    assert!(status == 200 && zipped != tag, "another coding is another answer");
    server.must_put("/metrics/job/j", "m 1\n");
    let (status, newer, _) = tag_of(&[("If-None-Match", &tag)]);
    assert!(status == 200 && newer != tag, "the push time has changed");
}

#[test]
fn a_stalled_scraper_gives_way_and_others_are_served_whole() {
    // Far below one exposition: the newest is always served.
    let server = Server::start(&["--limit.exposition-cache=100000"]);
    push_everything(&server, 1);
    let mut stalled = server.connect();
    stalled.write(&request_bytes("GET", "/metrics", &[], b""));
    let whole = server.scrape();
    assert_eq!(whole.samples("m").len(), GROUPS * SERIES);
    push_everything(&server, 2);
    // Two renderings of which the older is still held by one that reads nothing.
    let newer = server.scrape();
    assert!(newer.samples("m").iter().all(|line| line.ends_with(" 2")));
    // Reads nothing until the server must have noticed.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let rest = stalled.rest();
    assert!(rest.len() < whole.text.len(), "{} of {} bytes", rest.len(), whole.text.len());
    server.must_log("limit.exposition-cache");
    assert_eq!(server.scrape().samples("m").len(), GROUPS * SERIES);
}

#[test]
fn a_stalled_scraper_is_cut_at_its_deadline() {
    let server = Server::start(&["--limit.write-deadline=1s"]);
    push_everything(&server, 1);
    let mut stalled = server.connect();
    stalled.write(&request_bytes("GET", "/metrics", &[], b""));
    let whole = server.scrape();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(stalled.rest().len() < whole.text.len());
}

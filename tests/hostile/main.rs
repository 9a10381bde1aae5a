//! Every class of bad input of `docs/hostile-inputs.md`, over raw sockets to the built gateway.
//!
//! What is answered is checked with what is left behind: nothing, or one failure time. The page and these
//! tests cannot drift apart: the last test here looks for every test that the page names.

#[path = "../common/mod.rs"]
mod common;

mod codings;
mod connections;
mod framing;
mod paths;
mod protobuf_bodies;
mod state;
mod system;
mod text_bodies;

use std::path::Path;

/// Every class of the page has a test that exists.
#[test]
fn the_page_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/hostile-inputs.md")).unwrap();
    let mut classes = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs")) {
        classes += 1;
        let tests = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        for test in tests.split(", ") {
            let (file, name) = test.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("{row}"));
            let source =
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("fn {name}(")), "{file} has no test {name}");
        }
    }
    assert!(classes > 80, "{classes}");
}

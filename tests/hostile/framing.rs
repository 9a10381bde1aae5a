//! Broken framing on a raw socket: where a request ends must never be a matter of opinion.
//!
//! Nothing is stored, what is pipelined behind broken framing is not served, and the neighbour notices
//! nothing. Each test is a class of `docs/hostile-inputs.md`.

use crate::common::hostile::{Closed, Kept, Siege, push, push_with, send_and_leave, send_and_reset, shown};
use crate::common::request_bytes;

const HEAD: &str = "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Every one of these request heads and bodies is refused with this status and text, and closes.
fn all_close(rows: &[(&str, u16, &str)]) {
    let mut siege = Siege::begin(&[]);
    for (bytes, status, says) in rows {
        siege.refused(bytes.as_bytes(), *status, says, Closed);
    }
}

#[test]
fn a_length_and_a_transfer_coding_conflict() {
    let mut siege = Siege::begin(&[]);
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 14\r\nTRANSFER-ENCODING: CHUNKED\r\n",
        "Content-Length: 4\r\nA: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        siege.refused(&push_with(headers, b"4\r\nm 1\n\r\n0\r\n\r\n"), 400, "conflicting framing", Closed);
    }
}

#[test]
fn two_lengths_that_differ_are_refused() {
    let mut siege = Siege::begin(&[]);
    for headers in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: 4\r\nA: b\r\ncontent-length: 0\r\n",
        "Content-Length: 4,\r\n",
    ] {
        siege.refused(&push_with(headers, b"m 1\n"), 400, "400 Bad Request", Closed);
    }
    // Twice the same is one length.
    siege.answered(&push_with("Content-Length: 4\r\nContent-Length: 4\r\n", b"m 1\n"), 200);
}

#[test]
fn lengths_that_are_no_digits_are_refused() {
    let mut siege = Siege::begin(&[]);
    for length in [
        "-1",
        "-0",
        "+4",
        "0x4",
        "4h",
        "1_0",
        "1 0",
        "4 4",
        "",
        "4.0",
        "4e0",
        "\"4\"",
        "four",
        "\u{ff14}",
        "99999999999999999999",
        "18446744073709551616",
        "000000000000000000004",
    ] {
        let headers = format!("Content-Length: {length}\r\n");
        siege.refused(&push_with(&headers, b"m 1\n"), 400, "400 Bad Request", Closed);
    }
    for length in ["4 ", " \t4", "0004"] {
        siege.answered(&push_with(&format!("Content-Length: {length}\r\n"), b"m 1\n"), 200);
    }
    // Legal digits, and more than anybody may send.
    for length in ["9223372036854775807", "9999999999999999999", "67108865"] {
        let headers = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
        siege.refused(&push_with(&headers, b""), 413, "longer than the limit", Closed);
    }
}

#[test]
fn transfer_codings_other_than_one_chunked_are_refused() {
    let mut siege = Siege::begin(&[]);
    let body = b"4\r\nm 1\n\r\n0\r\n\r\n";
    for value in [
        "xchunked",
        "identity",
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunke",
        "chunkedd",
        "",
        "chunked\tx",
        "deflate\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ] {
        let headers = format!("Transfer-Encoding: {value}\r\n");
        siege.refused(&push_with(&headers, body), 501, "Unsupported transfer encoding", Closed);
    }
    for line in [
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\n\tx",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 4",
        "Transfer-Encoding: chunked\r Content-Length: 4",
    ] {
        siege.refused(&push_with(&format!("{line}\r\n"), body), 400, "400 Bad Request", Closed);
    }
    // No coding at all by these names, so no body either: the chunks are the next request, and none.
    for name in ["Transfer_Encoding", "Transfer-Encodin", "X-Transfer-Encoding"] {
        let mut connection = siege.server.connect();
        connection.write(&push_with(&format!("{name}: chunked\r\n"), body));
        assert_eq!(connection.answer_to("PUT").status, 200);
        assert_eq!(connection.answer_to("PUT").status, 400);
        assert!(connection.rest().is_empty());
        assert!(!siege.server.pushed().contains("m{"));
        siege.server.delete("/metrics/job/hostile").is_empty_with(202);
    }
    siege.nothing_changed(b"all of them");
}

#[test]
fn http_1_0_has_no_transfer_codings() {
    let mut siege = Siege::begin(&[]);
    for line in ["HTTP/1.0\r\n", "HTTP/1.0\r\nHost: h\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"] {
        let request = format!("PUT /metrics/job/hostile {line}{CHUNKED}\r\n4\r\nm 1\n\r\n0\r\n\r\n");
        siege.refused(request.as_bytes(), 400, "conflicting framing", Closed);
    }
}

#[test]
fn chunk_sizes_are_hexadecimal_digits_and_nothing_else() {
    let mut siege = Siege::begin(&[]);
    for size in [
        "x",
        "0x4",
        "+4",
        "-4",
        "4_",
        "4 ",
        " 4",
        "\t4",
        "4\t",
        "4,4",
        "4.",
        "\"4\"",
        "",
        ";a=b",
        "00000000000000004",
        "10000000000000004",
        "fffffffffffffffff",
        "4\n",
        "\u{ff14}",
        "4\0",
        "g",
    ] {
        let body = format!("{size}\r\nm 1\n\r\n0\r\n\r\n");
        siege.refused(&push_with(CHUNKED, body.as_bytes()), 400, "invalid chunk size", Closed);
        // And behind a chunk that is fine.
        let body = format!("4\r\nm 1\n\r\n{size}\r\nn 1\n\r\n0\r\n\r\n");
        siege.refused(&push_with(CHUNKED, body.as_bytes()), 400, "invalid chunk size", Closed);
    }
    // Sixteen digits are a number; nobody may send so much, and it is not waited for.
    siege.refused_at_its_end(&push_with(CHUNKED, b"ffffffffffffffff\r\nm 1\n"), 400, "body ended early");
    let long = format!("4{}\r\nm 1\n\r\n0\r\n\r\n", ";a=b".repeat(20_000));
    siege.refused(
        &push_with(CHUNKED, long.as_bytes()),
        400,
        "chunk extensions or trailers are too long",
        Closed,
    );
}

#[test]
fn chunk_data_ends_where_it_said() {
    let mut siege = Siege::begin(&[]);
    for body in [
        "4\r\nm 1\n0\r\n\r\n",
        "3\r\nm 1\n\r\n0\r\n\r\n",
        "4\r\nm 1\n\n0\r\n\r\n",
        "4\r\nm 1\n\r0\r\n\r\n",
        "4\rm 1\n\r\n0\r\n\r\n",
        "4;a\nm 1\n\r\n0\r\n\r\n",
        "4\r\nm 1\nx\r\n0\r\n\r\n",
        "4\r\nm 1\n\r\n0\r\n\n",
        "4\r\nm 1\n\r\n0\r\n\rx",
        "4\r\nm 1\n\r\n0\r\nA: b\n\r\n",
        "4\r\nm 1\n\r\n0\r\nA: b\0\r\n\r\n",
        "4;a=\x01\r\nm 1\n\r\n0\r\n\r\n",
    ] {
        siege.refused(&push_with(CHUNKED, body.as_bytes()), 400, "malformed chunked encoding", Closed);
    }
    let trailers = format!("4\r\nm 1\n\r\n0\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    siege.refused(&push_with(CHUNKED, trailers.as_bytes()), 400, "are too long", Closed);
    // Trailers mean nothing, even those that must not be there.
    let trailers = "4\r\nm 1\n\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: x\r\n\r\n";
    siege.answered(&push_with(CHUNKED, trailers.as_bytes()), 200);
}

#[test]
fn bodies_shorter_than_announced_store_nothing() {
    let mut siege = Siege::begin(&[]);
    for (headers, body) in [
        ("Content-Length: 8\r\n", "m 1\n"),
        ("Content-Length: 1\r\n", ""),
        ("Content-Length: 1000000\r\n", "m 1\n"),
        (CHUNKED, ""),
        (CHUNKED, "4"),
        (CHUNKED, "4\r\n"),
        (CHUNKED, "4\r\nm 1"),
        (CHUNKED, "4\r\nm 1\n"),
        (CHUNKED, "4\r\nm 1\n\r\n"),
        (CHUNKED, "4\r\nm 1\n\r\n0"),
        (CHUNKED, "4\r\nm 1\n\r\n0\r\n"),
        (CHUNKED, "4\r\nm 1\n\r\n0\r\n\r"),
    ] {
        let bytes = push_with(headers, body.as_bytes());
        siege.refused_at_its_end(&bytes, 400, "body ended early");
        send_and_leave(&siege.server, &bytes);
        send_and_reset(&siege.server, &bytes);
        siege.nothing_changed(&bytes);
    }
}

#[test]
fn heads_over_their_limits_are_refused_early() {
    let mut siege = Siege::begin(&[]);
    let long = "x".repeat(100_000);
    let many = |number: usize| "A: b\r\n".repeat(number);
    for headers in [
        format!("A: {long}\r\n"),
        format!("{long}: b\r\n"),
        many(10_000),
        many(200),
        format!("Cookie: {}\r\n", "x".repeat(33_000)),
        // Without an end in sight.
        format!("A: {long}"),
    ] {
        siege.refused(&push_with(&headers, b""), 431, "431 Request Header Fields Too Large", Closed);
    }
    for target in [format!("/metrics/job/{long}"), format!("/{}", "a/".repeat(20_000)), format!("/?{long}")] {
        let request = format!("PUT {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        siege.refused(request.as_bytes(), 414, "414 Request URI Too Long", Closed);
    }
    siege.refused(format!("PUT /{long}").as_bytes(), 414, "414 Request URI Too Long", Closed);
    siege.refused(long.as_bytes(), 414, "414 Request URI Too Long", Closed);
    // RFC 9112 section 3: at least 8,000 octets.
    let request = format!("PUT /metrics/job/hostile/a/{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(8_000));
    siege.answered(request.as_bytes(), 200);
}

#[test]
fn lines_and_names_of_a_head_are_read_strictly() {
    let rows: Vec<(String, u16, &str)> = [
        // Line ends.
        "PUT /metrics/job/hostile HTTP/1.1\nHost: h\nContent-Length: 4\n\nm 1\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\nContent-Length: 4\r\n\r\nm 1\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\nContent-Length: 4\r\n\r\nm 1\n",
        "PUT /metrics/job/hostile HTTP/1.1\rHost: h\r\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\rContent-Length: 4\r\n\r\nm 1\n",
        "PUT /metrics/job/hostile HTTP/1.1\r?Host: h\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r?Host: h\r\nContent-Length: 4\r\n\r\nm 1\n",
        // Control bytes.
        "PUT /metrics/job/hostile\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /metrics/job/hos\ttile HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA: \x1b[31m\r\n\r\n",
        // Names.
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nContent-Length : 4\r\n\r\nm 1\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA(b): c\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA\u{e9}: c\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        // Folded lines, and blanks before the first header.
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\nA: b\r\n\tContent-Length: 4\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\n Host: h\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1\r\n\tA: b\r\nHost: h\r\n\r\n",
        // The request line.
        " PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT  /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /metrics/job/hostile  HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /metrics/job/hostile HTTP/1.1 \r\nHost: h\r\n\r\n",
        "PUT\t/metrics/job/hostile\tHTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT /metrics/job/host ile HTTP/1.1\r\nHost: h\r\n\r\n",
        "PUT metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
        "P(T /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
        "\u{feff}PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
    ]
    .into_iter()
    .map(|text| (text.to_owned(), 400, "400 Bad Request"))
    .collect();
    let mut siege = Siege::begin(&[]);
    for (bytes, status, says) in &rows {
        siege.refused(bytes.as_bytes(), *status, says, Closed);
    }
}

#[test]
fn hosts_are_there_once_and_look_like_hosts() {
    let request =
        |hosts: &str| format!("PUT /metrics/job/hostile HTTP/1.1\r\n{hosts}Content-Length: 4\r\n\r\nm 1\n");
    let mut siege = Siege::begin(&[]);
    siege.refused(request("").as_bytes(), 400, "missing required Host header", Closed);
    for hosts in [
        "Host:\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: \"h\"\r\n",
        "Host: \u{e9}\r\n",
    ] {
        siege.refused(request(hosts).as_bytes(), 400, "malformed Host header", Closed);
    }
    for hosts in ["Host: h\r\nHost: h\r\n", "Host: h\r\nA: b\r\nhost: i\r\n"] {
        siege.refused(request(hosts).as_bytes(), 400, "400 Bad Request", Closed);
    }
    for hosts in ["Host: h:9091\r\n", "Host: [::1]:9091\r\n"] {
        siege.answered(request(hosts).as_bytes(), 200);
    }
}

#[test]
fn other_protocols_are_turned_away_at_once() {
    all_close(&[
        ("PUT /metrics/job/hostile HTTP/2.0\r\nHost: h\r\n\r\n", 505, "unsupported protocol version"),
        ("PUT /metrics/job/hostile HTTP/0.9\r\nHost: h\r\n\r\n", 505, "unsupported protocol version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported protocol version"),
        ("GET /metrics\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile HTTP/1\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile http/1.1\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile HTTP/1.10\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile HTTP/01.1\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile HTTPS/1.1\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("PUT /metrics/job/hostile HTTP/-1.1\r\nHost: h\r\n\r\n", 400, "400 Bad Request"),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03", 400, "400 Bad Request"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, "400 Bad Request"),
        ("*1\r\n$4\r\nPING\r\n\r\n", 400, "400 Bad Request"),
        ("{\"jsonrpc\": \"2.0\"}\r\n\r\n", 400, "400 Bad Request"),
        ("\r\n\r\n\r\n\0", 400, "400 Bad Request"),
    ]);
}

#[test]
fn random_bytes_are_no_request() {
    let mut siege = Siege::begin(&[]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    for round in 0..200 {
        let bytes: Vec<u8> = (0..round * 7 + 1).map(|_| random()).collect();
        let text = siege.server.raw(&bytes);
        // Too short to tell, or told to go.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{}: {text}", shown(&bytes));
    }
    siege.nothing_changed(b"random bytes");
}

#[test]
fn unknown_methods_are_answered_with_what_is_allowed() {
    let mut siege = Siege::begin(&[]);
    for method in ["BREW", "put", "PATCH", "PROPFIND", "HEADX", "X!#$%&'*+-.^_`|~9", "GETT"] {
        for (target, allow) in [
            ("/metrics/job/hostile", "DELETE, OPTIONS, POST, PUT"),
            ("/metrics", "GET, OPTIONS"),
            ("/-/quit", "GET, OPTIONS, POST, PUT"),
        ] {
            let bytes = request_bytes(method, target, &[("Content-Length", "4")], b"");
            let bytes = [&bytes[..], b"m 1\n"].concat();
            let answer = siege.refused(&bytes, 405, "Method Not Allowed", Kept);
            assert_eq!(answer.header("Allow"), Some(allow), "{method} {target}");
        }
        let bytes = request_bytes(method, "/nope", &[], b"");
        siege.refused(&bytes, 404, "404 page not found", Kept);
        let text = siege.server.scrape().text.to_ascii_lowercase();
        assert!(
            !text.contains(&format!("method=\"{}\"", method.to_ascii_lowercase())) || method == "put",
            "{method}"
        );
    }
}

#[test]
fn connect_trace_asterisk_and_upgrade_do_nothing() {
    let mut siege = Siege::begin(&[]);
    siege.refused(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 404, "404 page not found", Kept);
    siege.refused(
        b"CONNECT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n\r\n",
        405,
        "Method Not Allowed",
        Kept,
    );
    let trace = b"TRACE /metrics HTTP/1.1\r\nHost: h\r\nCookie: secret\r\n\r\n";
    let answer = siege.refused(trace, 405, "Method Not Allowed", Kept);
    assert!(!answer.text().contains("secret"));
    siege.answered(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 200).is_empty_with(200);
    for method in ["GET", "PUT", "TRACE"] {
        siege.refused(format!("{method} * HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(), 400, "", Closed);
    }
    for headers in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    ] {
        let bytes = push_with(&format!("{headers}Content-Length: 4\r\n"), b"m 1\n");
        let answer = siege.answered(&bytes, 200);
        assert_eq!(answer.header("Upgrade"), None);
    }
}

#[test]
fn expectations_are_met_or_refused_before_the_body() {
    let mut siege = Siege::begin(&["--limit.body-bytes=1000"]);
    for expect in ["200-ok", "100-continue, x", "x", "100"] {
        let bytes = push_with(&format!("Expect: {expect}\r\nContent-Length: 4\r\n"), b"m 1\n");
        siege.refused(&bytes, 417, "", Closed);
    }
    // Refused for its size or its path: the final status, and no interim one.
    siege.refused(
        &push_with("Expect: 100-continue\r\nContent-Length: 1001\r\n", b""),
        413,
        "limit of 1000 bytes",
        Closed,
    );
    let bad_path = b"PUT /metrics/job/hostile/odd HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    siege.refused(bad_path, 400, "odd number of components", Closed);
    let unknown = b"PUT /nope HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    siege.refused(unknown, 404, "404 page not found", Closed);
    // A client that gives up waiting sends its body unasked.
    let mut connection = siege.server.connect();
    connection.write(&push_with("Expect: 100-continue\r\nContent-Length: 4\r\n", b""));
    assert_eq!(connection.answer_to("PUT").status, 100);
    connection.write(b"m 1\n");
    connection.answer_to("PUT").is_empty_with(200);
}

#[test]
fn of_pipelined_requests_each_is_judged_alone_until_framing_breaks() {
    let siege = Siege::begin(&[]);
    let mut connection = siege.server.connect();
    let put =
        |job: &str, body: &str| request_bytes("PUT", &format!("/metrics/job/{job}"), &[], body.as_bytes());
    let get = request_bytes("GET", "/metrics", &[], b"");
    // A refused push closes nothing.
    connection
        .write(&[put("a", "a 1\n"), get.clone(), put("b", "b x\n"), put("c", "c 1\n"), get.clone()].concat());
    connection.answer_to("PUT").is_empty_with(200);
    assert!(connection.answer_to("GET").text().contains("\na{instance=\"\",job=\"a\"} 1\n"));
    assert_eq!(connection.answer_to("PUT").status, 400);
    connection.answer_to("PUT").is_empty_with(200);
    let scrape = connection.answer_to("GET");
    assert!(scrape.text().contains("\nc{instance=\"\",job=\"c\"} 1\n") && !scrape.text().contains("\nb{"));
    // After broken framing nothing is served.
    for broken in [
        &b"PUT /metrics/job/d HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n"[..],
        b"PUT /metrics/job/d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let mut connection = siege.server.connect();
        connection.write_if_open(&[&put("a", "a 2\n")[..], broken, &put("e", "e 1\n"), &get].concat());
        connection.answer_to("PUT").is_empty_with(200);
        assert_eq!(connection.answer_to("PUT").status, 400);
        assert!(connection.rest().is_empty());
        let scrape = siege.server.scrape();
        assert!(scrape.samples("e").is_empty() && scrape.samples("a") == [r#"a{instance="",job="a"} 2"#]);
    }
}

/// What is whole when the connection goes may be applied though nobody was told; never a part of it.
#[test]
fn a_connection_reset_at_any_byte_applies_all_or_nothing() {
    let body = b"# TYPE m gauge\nm{a=\"1\"} 1\nm{a=\"2\"} 2\n";
    let chunks = [b"1e\r\n", &body[..0x1e], b"\r\n7\r\n", &body[0x1e..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(body.len(), 0x25);
    let mut siege = Siege::begin(&[]);
    for request in [
        push(body),
        push_with(CHUNKED, &chunks),
        push_with("Connection: close\r\nContent-Length: 37\r\n", body),
    ] {
        for length in 0..request.len() {
            send_and_reset(&siege.server, &request[..length]);
            send_and_leave(&siege.server, &request[..length]);
        }
        siege.nothing_changed(&request);
        send_and_reset(&siege.server, &request);
        let samples = siege.server.scrape().samples("m").len();
        assert!(samples == 0 || samples == 2, "{samples}");
        siege.answered(&request_bytes("DELETE", "/metrics/job/hostile", &[], b""), 202);
    }
}

/// Any byte of a good request, changed: an answer or an end, and at most the push that it still is.
#[test]
fn a_head_with_any_byte_changed_is_answered_and_harms_nobody() {
    let request =
        format!("{HEAD}Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nm 1\n");
    let mut siege = Siege::begin(&[]);
    for at in 0..request.len() {
        for byte in [0, b'\n', b'\r', b' ', b':', b'/', b'9', b'%', 0x7f, 0xff] {
            let mut bytes = request.clone().into_bytes();
            bytes[at] = byte;
            let text = siege.server.raw(&bytes);
            assert!(text.is_empty() || text.starts_with("HTTP/1."), "{}: {text}", shown(&bytes));
        }
    }
    // Whatever it made of them, the exposition is sound and the kept group is as it was.
    let scrape = siege.server.scrape();
    assert_eq!(scrape.samples("kept"), [r#"kept{a="1",b="2",instance="",job="kept"} 3"#]);
    assert!(scrape.samples("m").iter().all(|line| line.ends_with(" 1") || line.ends_with(" 9")));
    siege.answered(&push(b"m 2\n"), 200);
}

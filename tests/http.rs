//! The HTTP front over real sockets, with a stand-in behind it that echoes what it was given.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use floodway::http::config::HttpConfig;
use support::{Echo, connect, exchange, exchange_slowly, read_answer, short_deadlines, with_server};

const CLOSE: &str = "Connection: close\r\n";

fn put(path: &str, headers: &str, body: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with_server(Echo::default(), |server| {
        let mut requests = String::new();
        for number in 0..500 {
            requests += &put(&format!("/{number}"), "", &format!("body {number}"));
            requests += &format!("GET /get{number} HTTP/1.1\r\nHost: h\r\n\r\n");
            requests += &format!(
                "POST /c{number} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n"
            );
        }
        requests += &put("/last", CLOSE, "");
        let text = exchange(server, requests.as_bytes());
        let bodies: Vec<&str> = text.split("\r\n\r\n").skip(1).collect();
        let mut expected = Vec::new();
        for number in 0..500 {
            expected.push(format!("PUT /{number} body {number};"));
            expected.push(format!("GET /get{number} ;"));
            expected.push(format!("POST /c{number} abcde;"));
        }
        expected.push("PUT /last ;".to_owned());
        assert_eq!(bodies.len(), expected.len());
        for (body, expected) in bodies.iter().zip(expected) {
            assert!(body.starts_with(&expected), "{body:?} should begin with {expected:?}");
        }
        assert!(text.ends_with(';'));
    });
}

#[test]
fn a_request_in_single_bytes_is_the_same_request() {
    with_server(Echo::default(), |server| {
        let text = exchange_slowly(server, put("/a", CLOSE, "body").as_bytes());
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nPUT /a body;"), "{text}");
    });
}

#[test]
fn long_bodies_arrive_whole() {
    with_server(Echo::default(), |server| {
        for length in [4000, 4096, 5000, 65_536, 65_537, 3_000_000] {
            let body: String = (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
            let text = exchange(server, put("/l", CLOSE, &body).as_bytes());
            assert!(text.ends_with(&format!("\r\n\r\nPUT /l {body};")), "{length}");
            let chunked = format!(
                "PUT /l HTTP/1.1\r\nHost: h\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            );
            let text = exchange(server, chunked.as_bytes());
            assert!(text.ends_with(&format!("\r\n\r\nPUT /l {body};")), "chunked {length}");
        }
    });
}

#[test]
fn many_slices_arrive_whole() {
    with_server(Echo::default(), |server| {
        let text = exchange(server, format!("GET /slices HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n").as_bytes());
        let body = text.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(body.len(), 3000 * 5000);
        for (number, slice) in body.as_bytes().chunks(5000).enumerate() {
            assert!(slice.iter().all(|byte| *byte == b'a' + (number % 26) as u8), "{number}");
        }
    });
}

#[test]
fn the_interim_answer_comes_only_if_the_body_is_wanted() {
    with_server(Echo::default(), |server| {
        let mut client = connect(server);
        client
            .write_all(b"PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n")
            .unwrap();
        let mut interim = [0; 25];
        client.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"body").unwrap();
        assert!(read_answer(&mut client).ends_with("PUT /a body;"));

        let refused = "PUT /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        let text = exchange(server, refused.as_bytes());
        assert!(
            text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.contains("\r\nConnection: close\r\n")
        );

        let large =
            "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(exchange(server, large.as_bytes()).starts_with("HTTP/1.1 413 "));

        let unknown = "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 4\r\n\r\nbody";
        let text = exchange(server, unknown.as_bytes());
        assert!(text.starts_with("HTTP/1.1 417 Expectation Failed\r\n"), "{text}");
    });
}

#[test]
fn bad_heads_end_the_connection_in_their_own_shape() {
    with_server(Echo::default(), |server| {
        for (request, status, body) in [
            ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header", None),
            ("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request", None),
            ("GET / HTTP/1.1\nHost: h\n\n", "400 Bad Request", None),
            ("\x16\x03\x01\x02\x00", "400 Bad Request", None),
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "505 HTTP Version Not Supported: unsupported protocol version",
                None,
            ),
            (
                "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
                "501 Not Implemented",
                Some("Unsupported transfer encoding"),
            ),
            (
                "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
                "400 Bad Request: conflicting framing",
                None,
            ),
        ] {
            let smuggled = format!("{request}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
            let expected = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{}",
                body.unwrap_or(status)
            );
            assert_eq!(exchange(server, smuggled.as_bytes()), expected, "{request:?}");
        }
        for (length, status) in [(20_000, "414 "), (300_000, "414 ")] {
            let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length));
            assert!(exchange(server, request.as_bytes()).starts_with(&format!("HTTP/1.1 {status}")));
        }
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(300_000));
        assert!(exchange(server, request.as_bytes()).starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn what_came_before_a_bad_head_is_still_answered() {
    with_server(Echo::default(), |server| {
        let text = exchange(server, format!("{}GET\r\n\r\n", put("/a", "", "x")).as_bytes());
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("PUT /a x;HTTP/1.1 400 Bad Request\r\n"), "{text}");
    });
}

#[test]
fn broken_bodies_are_refused_and_never_reach_the_service() {
    with_server(Echo::default(), |server| {
        let chunked = "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (request, text) in [
            (format!("{chunked}x\r\n"), "invalid chunk size\n"),
            (format!("{chunked}3\r\nabcd\r\n"), "malformed chunked encoding\n"),
            (format!("{chunked}3\r\nab"), "body ended early\n"),
            ("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc".to_owned(), "body ended early\n"),
        ] {
            let mut client = connect(server);
            client.write_all(request.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\nbroken: {text}")), "{answer}");
        }
    });
}

#[test]
fn a_body_nobody_needs_is_read_past() {
    with_server(Echo::default(), |server| {
        let body = "x".repeat(200_000);
        let requests = format!("{}{}", put("/refuse", "", &body), put("/b", CLOSE, ""));
        let text = exchange(server, requests.as_bytes());
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("PUT /b ;"), "{text}");

        let body = "x".repeat(3_000_000);
        let text = exchange(server, put("/refuse", "", &body).as_bytes());
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("\r\nConnection: close\r\n"), "{text}");
    });
}

#[test]
fn http_1_0_and_head() {
    with_server(Echo::default(), |server| {
        let text = exchange(server, b"GET /a HTTP/1.0\r\n\r\n");
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("GET /a ;"), "{text}");
        let two = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n";
        let text = exchange(server, two.as_bytes());
        assert!(text.contains("\r\nConnection: keep-alive\r\n\r\nGET /a ;HTTP/1.0 200"), "{text}");
        let text = exchange(server, format!("HEAD /a HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n").as_bytes());
        assert!(text.contains("\r\nContent-Length: 9\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    });
}

#[test]
fn slow_requests_are_ended() {
    let echo = Echo { http: short_deadlines(), ..Echo::default() };
    with_server(echo, |server| {
        for (request, answer) in [
            ("", ""),
            (
                "GET / HT",
                "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n408 Request Timeout: head did not arrive within 300ms (--limit.head-deadline)",
            ),
        ] {
            let mut client = connect(server);
            client.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, answer, "{request:?}");
        }
        for request in [
            "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
            "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n",
        ] {
            let mut client = connect(server);
            client.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
            assert!(
                text.ends_with("broken: body did not arrive in time (--limit.body-deadline)\n"),
                "{text}"
            );
        }
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let echo = Echo { http: short_deadlines(), ..Echo::default() };
    with_server(echo, |server| {
        let mut client = connect(server);
        for _ in 0..20 {
            client.write_all(b"GET /slices HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        }
        // Reads nothing until the server must have given up; what it sent before may still come.
        std::thread::sleep(Duration::from_secs(2));
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            bytes += read;
        }
        assert!(bytes < 20 * 15_000_000, "{bytes}");
    });
}

#[test]
fn the_oldest_quiet_connection_makes_room() {
    let http = HttpConfig { connections_max: 2, ..HttpConfig::default() };
    let echo = Echo { http, workers: 1 };
    with_server(echo, |server| {
        let mut first = connect(server);
        first.write_all(put("/1", "", "").as_bytes()).unwrap();
        read_answer(&mut first);
        let mut others: Vec<TcpStream> = Vec::new();
        for number in 2..4 {
            let mut client = connect(server);
            client.write_all(put(&format!("/{number}"), "", "").as_bytes()).unwrap();
            assert!(read_answer(&mut client).ends_with(&format!("PUT /{number} ;")));
            others.push(client);
        }
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_fault_in_one_request_ends_only_its_connection() {
    with_server(Echo { workers: 1, ..Echo::default() }, |server| {
        assert_eq!(exchange(server, b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"), "");
        assert!(exchange(server, put("/a", CLOSE, "").as_bytes()).ends_with("PUT /a ;"));
    });
}

#[test]
fn stopping_answers_what_is_in_flight() {
    // Of several workers each hears of the stop in its own time.
    with_server(Echo { workers: 1, ..Echo::default() }, |server| {
        let mut quiet = connect(server);
        quiet.write_all(put("/a", "", "").as_bytes()).unwrap();
        read_answer(&mut quiet);
        let mut busy = connect(server);
        busy.write_all(b"PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo").unwrap();
        // The server must have seen the busy one before it is told to stop.
        std::thread::sleep(Duration::from_millis(200));
        let quit = exchange(server, b"PUT /quit HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(quit.ends_with("bye"), "{quit}");
        assert_eq!(quiet.read(&mut [0]).unwrap(), 0);
        assert!(TcpStream::connect(server).is_err());
        busy.write_all(b"dy").unwrap();
        let mut text = String::new();
        busy.read_to_string(&mut text).unwrap();
        assert!(text.contains("\r\nConnection: close\r\n") && text.ends_with("PUT /b body;"), "{text}");
    });
}

/// Among many connections a quiet one has hardly a buffer: every size must get past that.
#[test]
fn in_a_crowd_requests_of_any_size_arrive_whole() {
    with_server(Echo { workers: 1, ..Echo::default() }, |server| {
        let crowd: Vec<TcpStream> = (0..300).map(|_| connect(server)).collect();
        let mut client = connect(server);
        for length in [0, 1, 300, 450, 512, 513, 4000, 5000, 70_000] {
            let body: String = (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
            let expected = format!("PUT /l {body};");
            // Twice in one write: what is behind the first is not lost with its buffer.
            client.write_all(put("/l", "", &body).repeat(2).as_bytes()).unwrap();
            for _ in 0..2 {
                let answer = read_answer(&mut client);
                assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, expected, "{length}");
            }
        }
        drop(crowd);
    });
}

//! Clients that send or read slowly, not at all, or by the thousand; and the end of the process meanwhile.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::hostile::{Siege, allow_many_descriptors, push_with, raw_connection, shown};
use crate::common::{Connection, PATIENCE, Server, request_bytes};

const SHORT: [&str; 3] =
    ["--limit.head-deadline=300ms", "--limit.body-deadline=300ms", "--limit.write-deadline=300ms"];

/// Sends a byte at a time, each well within the deadline of the whole, until the server answers.
fn drip(server: &Server, bytes: &[u8]) -> String {
    let mut stream = raw_connection(server);
    let mut reader = stream.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut answer = String::new();
        // A reset after the answer is an end as well.
        let _ = reader.read_to_string(&mut answer);
        answer
    });
    for byte in bytes {
        if reading.is_finished() || stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    reading.join().unwrap()
}

#[test]
fn a_body_that_never_comes_is_timed_out() {
    let mut siege = Siege::begin(&SHORT);
    for (headers, body) in [
        ("Content-Length: 4\r\n", &b""[..]),
        ("Content-Length: 1000000\r\n", b"m 1\n"),
        ("Transfer-Encoding: chunked\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"4\r\nm 1\n\r\n"),
    ] {
        let bytes = push_with(headers, body);
        let mut connection = siege.server.connect();
        connection.write(&bytes);
        let answer = connection.answer_to("PUT");
        assert!(answer.status == 408 && answer.text().starts_with("body did not arrive in time"));
        answer.has_error_shape();
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(connection.rest().is_empty());
        siege.nothing_changed(&bytes);
    }
}

#[test]
fn a_head_that_drips_is_timed_out_from_its_first_byte() {
    let mut siege = Siege::begin(&SHORT);
    for bytes in [
        push_with(&"X-Filler: aaaaaaaaaaaaaaaaaaaa\r\n".repeat(20), b""),
        [b"\r\n".to_vec(), push_with(&"A: b\r\n".repeat(80), b"")].concat(),
    ] {
        let answer = drip(&siege.server, &bytes);
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!(answer.contains("\r\n\r\n408 Request Timeout"), "{answer}");
        siege.nothing_changed(&bytes);
    }
}

/// The deadline of the whole body is the least rate: the limit of a body in the time it has.
#[test]
fn a_body_that_drips_is_timed_out() {
    let mut siege = Siege::begin(&SHORT);
    let body = b"m 1\n".repeat(20);
    let chunks = b"1\r\nm\r\n".repeat(20);
    for bytes in
        [push_with("Content-Length: 80\r\n", &body), push_with("Transfer-Encoding: chunked\r\n", &chunks)]
    {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut stream = raw_connection(&siege.server);
        stream.write_all(&bytes[..head]).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut answer = String::new();
            let _ = reader.read_to_string(&mut answer);
            answer
        });
        for byte in &bytes[head..] {
            if reading.is_finished() || stream.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let answer = reading.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{}: {answer}", shown(&bytes));
        siege.nothing_changed(&bytes);
    }
}

/// A slow line is no attack: what keeps arriving at the least rate is waited for past the deadline.
#[test]
fn a_body_that_keeps_coming_is_waited_for() {
    let server = Server::start(&SHORT);
    let line = format!("# {}\n", "x".repeat(8 * 1024 - 3));
    let body = line.repeat(12);
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    let chunked = format!("{}0\r\n\r\n", chunk.repeat(12));
    let length = format!("Content-Length: {}\r\n", body.len());
    for (framing, body) in [(&*length, &body), ("Transfer-Encoding: chunked\r\n", &chunked)] {
        let bytes = push_with(framing, body.as_bytes());
        let mut stream = raw_connection(&server);
        for piece in bytes.chunks(8 * 1024 + 100) {
            stream.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(60));
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{framing}");
    }
}

/// Some megabytes of exposition in several groups.
fn with_much_to_read(flags: &[&str]) -> (Server, usize) {
    let server = Server::start(flags);
    let filler = "x".repeat(200);
    let body: String =
        (0..5_000).map(|at| format!("large{{n=\"{at}\",filler=\"{filler}\"}} {at}\n")).collect();
    for group in 0..20 {
        server.must_put(&format!("/metrics/job/large/g/{group}"), &body);
    }
    let length = server.get("/metrics").body.len();
    (server, length)
}

/// Whoever takes nothing is cut at the write deadline; whoever takes a little now and then gets all of it.
/// Nobody waits for either.
#[test]
fn answers_that_nobody_reads_are_cut_and_slow_readers_are_served() {
    let (server, length) = with_much_to_read(&["--limit.write-deadline=4s"]);
    assert!(length > 20_000_000);
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let begin = || {
        let mut stream = raw_connection(&server);
        socket2::SockRef::from(&stream).set_recv_buffer_size(64 * 1024).unwrap();
        stream.write_all(scrape).unwrap();
        // What it will read is settled once its first byte is there.
        stream.peek(&mut [0]).unwrap();
        stream
    };
    let mut stalled = begin();
    let mut slow = begin();
    let reading = thread::spawn(move || {
        let mut got = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = slow.read(&mut buffer) {
            got += read;
            // Slower than the server writes, and longer in all than its deadline.
            thread::sleep(Duration::from_millis(if got < 6_000_000 { 100 } else { 1 }));
        }
        got
    });
    // Groups change and go while both are being answered.
    for group in 0..20 {
        server.must_put("/metrics/job/neighbour", &format!("neighbour {group}\n"));
        server.delete(&format!("/metrics/job/large/g/{group}")).is_empty_with(202);
    }
    assert_eq!(server.scrape().samples("large").len(), 0);
    let got = reading.join().unwrap();
    assert!(got >= length, "{got} of {length} bytes");
    let begun = Instant::now();
    while server.scrape().value("floodway_connections_open").unwrap() > 1.0 {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(50));
    }
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest);
    assert!(rest.len() < length, "{}", rest.len());
}

#[test]
fn idle_connections_are_kept_and_the_oldest_make_room() {
    allow_many_descriptors();
    let server = Server::start(&["--limit.connections=100", "--web.workers=2"]);
    let mut kept: Vec<Connection> = Vec::new();
    for number in 0..400 {
        let mut connection = server.connect();
        let body = format!("m {number}\n");
        connection.send("PUT", "/metrics/job/idle", &[], body.as_bytes()).is_empty_with(200);
        kept.push(connection);
    }
    let open = server.scrape().value("floodway_connections_open").unwrap();
    assert!(open <= 102.0, "{open}");
    // The first were ended, the last are served.
    assert!(kept[0].rest().is_empty());
    for connection in kept.iter_mut().rev().take(20) {
        assert_eq!(connection.send("GET", "/-/ready", &[], b"").text(), "OK");
    }
    // Connections that never say a word are no different.
    let silent: Vec<_> = (0..400).map(|_| raw_connection(&server)).collect();
    server.must_put("/metrics/job/idle", "m 1\n");
    drop(silent);
}

/// A scrape under way when the process is told to stop is written to its end; a second signal ends it at
/// once.
#[test]
fn a_stop_lets_a_scrape_end_and_a_second_signal_does_not() {
    let (server, length) = with_much_to_read(&["--web.workers=1"]);
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut stream = raw_connection(&server);
    socket2::SockRef::from(&stream).set_recv_buffer_size(64 * 1024).unwrap();
    stream.write_all(scrape).unwrap();
    let mut first = [0; 9];
    stream.read_exact(&mut first).unwrap();
    server.signal(libc::SIGTERM);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.len() + first.len() >= length, "{} of {length}", all.len());
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");

    let (server, length) = with_much_to_read(&["--web.workers=1"]);
    let mut stalled = raw_connection(&server);
    socket2::SockRef::from(&stalled).set_recv_buffer_size(64 * 1024).unwrap();
    stalled.write_all(scrape).unwrap();
    stalled.read_exact(&mut first).unwrap();
    let mut half = raw_connection(&server);
    half.write_all(&request_bytes("PUT", "/metrics/job/half", &[], b"m 1\n")[..40]).unwrap();
    server.signal(libc::SIGTERM);
    let begun = Instant::now();
    while std::net::TcpStream::connect(server.address).is_ok() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    server.signal(libc::SIGTERM);
    let (status, log) = server.wait();
    assert_eq!(status.signal(), Some(libc::SIGTERM), "{log}");
    let mut all = Vec::new();
    let _ = stalled.read_to_end(&mut all);
    assert!(all.len() < length);
}

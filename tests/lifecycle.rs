//! How the process starts, stops and fails to start: signals, ports, flags, logs, exit statuses.

mod common;

use std::process::Output;

use common::{PATIENCE, Server, request_bytes, run};

#[test]
fn a_signal_ends_the_process_with_status_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let server = Server::start(&[]);
        server.must_put("/metrics/job/j", "m 1\n");
        server.signal(signal);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("received SIGINT/SIGTERM; exiting gracefully..."), "{log}");
    }
}

/// A request whose head has arrived is answered, though the signal comes before its body is whole.
#[test]
fn what_is_in_flight_at_a_stop_is_answered() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // Of several workers each hears of the stop in its own time.
        let server = Server::start(&["--web.workers=1"]);
        let body = "m 1\n";
        let request = request_bytes("PUT", "/metrics/job/j", &[("Expect", "100-continue")], body.as_bytes());
        let head = &request[..request.len() - body.len()];
        let mut pushes: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for push in &mut pushes {
            push.write(head);
            // The interim answer says that the server waits for this body.
            assert_eq!(push.answer_to("PUT").status, 100);
        }
        let mut quiet = server.connect();
        assert_eq!(quiet.send("GET", "/-/ready", &[], b"").status, 200);
        server.signal(signal);
        // The stop has begun once the quiet connection ends.
        assert!(quiet.rest().is_empty());
        assert!(std::net::TcpStream::connect(server.address).is_err());
        for push in &mut pushes {
            push.write(body.as_bytes());
            let answer = push.answer_to("PUT");
            assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
            assert!(push.rest().is_empty());
        }
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_hangup_does_not_end_the_process() {
    let mut server = Server::start(&[]);
    server.signal(libc::SIGHUP);
    for _ in 0..3 {
        assert_eq!(server.get("/-/healthy").status, 200);
    }
    assert!(server.is_running());
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[track_caller]
fn refuses_to_start(output: &Output, texts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.status.code().is_some(), "{stderr}");
    for text in texts {
        assert!(stderr.contains(text), "{text:?} is not in {stderr}");
    }
}

/// The reference ends with status 0 here, and its supervisor believes that all is well.
#[test]
fn a_port_in_use_is_an_error() {
    let first = Server::start(&[]);
    let address = first.address.to_string();
    let flag = format!("--web.listen-address={address}");
    for workers in ["--web.workers=1", "--web.workers=3"] {
        refuses_to_start(&run(&[&flag, workers]), &[&address, "in use", "level=error"]);
        // One address that cannot be had is enough.
        refuses_to_start(&run(&["--web.listen-address=127.0.0.1:0", &flag, workers]), &[&address, "in use"]);
    }
    // The first one does not notice.
    for _ in 0..20 {
        first.must_put("/metrics/job/j", "m 1\n");
    }
    assert_eq!(first.scrape().samples("m").len(), 1);
}

#[test]
fn a_port_is_free_again_after_a_stop() {
    let first = Server::start(&[]);
    let address = first.address;
    // A connection that the server closes leaves the port in TIME_WAIT.
    let mut kept = first.connect();
    assert_eq!(kept.send("GET", "/-/ready", &[], b"").status, 200);
    first.signal(libc::SIGTERM);
    assert_eq!(first.wait().0.code(), Some(0));
    let flag = format!("--web.listen-address={address}");
    let second = Server::start(&[&flag]);
    assert_eq!(second.get("/-/ready").status, 200);
    let mut at_the_old_port = common::Connection::open(address);
    assert_eq!(at_the_old_port.send("GET", "/-/ready", &[], b"").status, 200);
}

#[test]
fn every_listen_address_serves_the_same_groups() {
    let server = Server::start(&["--web.listen-address=localhost:0"]);
    server.must_put("/metrics/job/j", "m 1\n");
    let begun = std::time::Instant::now();
    let second = loop {
        let log = server.log();
        let addresses: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("Listening on"))
            .filter_map(|line| line.split("address=").nth(1))
            .map(|rest| rest.split(' ').next().unwrap())
            .collect();
        if let Some(second) = addresses.iter().find(|address| **address != server.address.to_string()) {
            break second.trim_matches('"').parse().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "{log}");
        std::thread::yield_now();
    };
    let mut connection = common::Connection::open(second);
    assert!(connection.send("GET", "/metrics", &[], b"").text().contains("\nm{instance=\"\",job=\"j\"} 1\n"));
}

#[test]
fn flags_that_cannot_be_understood() {
    let rows: &[(&[&str], &str)] = &[
        (&["--nope"], "unknown long flag '--nope'"),
        (&["-x"], "unknown short flag '-x'"),
        (&["extra"], "unexpected extra"),
        (&["--web.enable-lifecycle=true"], "unexpected true"),
        (&["--persistence.file"], "expected argument for flag '--persistence.file'"),
        (&["--no-persistence.file"], "unknown long flag '--no-persistence.file'"),
        (&["--persistence.interval=abc"], "time: invalid duration \"abc\""),
        (&["--persistence.interval=90"], "time: missing unit in duration \"90\""),
        (&["--persistence.interval=1d"], "time: unknown unit \"d\" in duration \"1d\""),
        (&["--web.external-url=:::"], "invalid URL: parse \":::\": missing protocol scheme"),
        (&["--log.level=foo"], "unrecognized log level foo"),
        (&["--log.format=JSON"], "unrecognized log format JSON"),
        (
            &["@/nope/nope"],
            "failed to open arguments file \"/nope/nope\": open /nope/nope: no such file or directory",
        ),
    ];
    for (arguments, text) in rows {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!("floodway: error: {text}, try --help\n"),
            "{arguments:?}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn flags_in_all_their_forms_start_a_server() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("flags_in_all_their_forms");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("arguments");
    std::fs::write(&file, "# a comment\n--web.enable-admin-api\n\n--web.route-prefix\n/from file\n").unwrap();
    let at_file = format!("@{}", file.display());
    let server = Server::start(&[
        &at_file,
        "--no-web.enable-lifecycle",
        "--persistence.file=",
        "--persistence.interval",
        "1h30m",
        "--log.level=DEBUG",
        "--web.workers=3",
        "--",
    ]);
    let flags = server.api("/from%20file/api/v1/status")["flags"].take();
    for (flag, value) in [
        ("web.enable-admin-api", "true"),
        ("web.enable-lifecycle", "false"),
        ("persistence.interval", "1h30m0s"),
        ("log.level", "debug"),
        ("web.route-prefix", "/from file"),
    ] {
        assert_eq!(flags[flag], value, "{flag}");
    }
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (flag, begin) in [
        ("--version", "floodway, version "),
        ("--help", "usage: floodway [<flags>]\n"),
        ("-h", "usage: floodway [<flags>]\n"),
        ("--help-long", "usage: floodway "),
        ("--help-man", ".TH "),
    ] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stderr.is_empty(), "{flag}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(begin), "{flag}: {text}");
    }
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for flag in
        ["--web.listen-address", "--web.telemetry-path", "--push.disable-consistency-check", "--log.format"]
    {
        assert!(help.contains(flag), "{flag}");
    }
}

#[test]
fn logs_in_both_formats() {
    let server = Server::start(&["--log.format=json"]);
    server.signal(libc::SIGTERM);
    let (_, log) = server.wait();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        for key in ["ts", "level", "msg"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
    let server = Server::start(&["--log.format=logfmt"]);
    server.signal(libc::SIGTERM);
    let (_, log) = server.wait();
    assert!(log.lines().count() > 3);
    for line in log.lines() {
        assert!(line.starts_with("ts=") && line.contains(" level=") && line.contains(" msg="), "{line}");
    }
}

#[test]
fn the_log_level_hides_what_is_less_severe() {
    let flag = "--web.listen-address=nonsense";
    for (level, starting) in [("info", true), ("warn", false), ("error", false)] {
        let output = run(&[flag, &format!("--log.level={level}")]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(log.contains("starting floodway"), starting, "{level}: {log}");
        assert!(log.contains("level=error"), "{level}: {log}");
    }
}

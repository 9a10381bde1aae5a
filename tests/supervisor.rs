//! Under a supervisor: sockets passed as systemd does, readiness told, and the health check of a container.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use common::{PATIENCE, Server, program, run};

/// The program with `listener` as its first passed socket.
fn activated(listener: &TcpListener, flags: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"])
        .arg(program().get_program())
        .arg("--web.systemd-socket")
        .args(flags)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    command
}

#[test]
fn a_passed_socket_serves_all_workers_and_outlives_the_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for round in 0..3 {
        let server = Server::of(activated(&listener, &["--web.workers=3"]));
        assert_eq!(server.address, listener.local_addr().unwrap());
        // Connections of which each worker gets some, or none hangs.
        let connections: Vec<_> = (0..12).map(|_| server.connect()).collect();
        for mut connection in connections {
            assert_eq!(connection.send("GET", "/-/ready", &[], b"").status, 200);
        }
        server.must_put(&format!("/metrics/job/round{round}"), "m 1\n");
        server.signal(libc::SIGTERM);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        // Nobody accepts, but nobody is refused.
        assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
    }
}

#[test]
fn without_a_passed_socket_it_does_not_start() {
    let output = run(&["--web.systemd-socket"]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("no socket activation file descriptors found"), "{log}");
}

#[test]
fn a_supervisor_hears_when_it_is_ready_and_when_it_stops() {
    let path = std::env::temp_dir().join(format!("floodway-notify-{}", std::process::id()));
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = program();
    command.args(["--web.listen-address=127.0.0.1:0", "--web.workers=2"]).env("NOTIFY_SOCKET", &path);
    let server = Server::of(command);
    let hear = || {
        let mut buffer = [0; 64];
        let read = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).trim_end().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert_eq!(server.get("/-/ready").status, 200);
    server.signal(libc::SIGTERM);
    assert_eq!(hear(), "STOPPING=1");
    server.wait();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_health_check_says_what_is_wrong() {
    let server = Server::start(&[]);
    let check = |url: &str| {
        let output = run(&["healthcheck", url]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let root = format!("http://{}", server.address);
    assert_eq!(check(&root), (Some(0), String::new()));
    assert_eq!(check(&format!("{root}/-/ready")), (Some(0), String::new()));
    let (status, text) = check(&format!("{root}/nothing"));
    assert_eq!(status, Some(1));
    assert!(text.contains("answered \"HTTP/1.0 404"), "{text}");
    let closed: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for bad in [format!("http://{closed}"), "https://127.0.0.1".to_owned(), "127.0.0.1:9091".to_owned()] {
        let (status, text) = check(&bad);
        assert_eq!(status, Some(1), "{bad}");
        assert!(text.starts_with("floodway: error: "), "{text}");
    }
}

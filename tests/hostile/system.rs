//! A system that gives less than expected: no io_uring, few descriptors, little locked memory, files that
//! cannot be read.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::hostile::{allow_many_descriptors, raw_connection};
use crate::common::{PATIENCE, Server, program, run};

/// The numbers of io_uring's three system calls; they are the same on every architecture.
const IO_URING_CALLS: [u32; 3] = [425, 426, 427];

/// A filter that answers io_uring's calls with an error number and lets all others pass.
fn filter(errno: i32) -> Vec<libc::sock_filter> {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The call's number is the first word of what a filter is shown.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (position, call) in IO_URING_CALLS.into_iter().enumerate() {
        let to_refusal = (IO_URING_CALLS.len() - position) as u8;
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_refusal, 0, call));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    program
}

/// The gateway under such a filter.
fn without_io_uring(errno: i32) -> Command {
    let filter = filter(errno);
    let mut command = program();
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: plain system calls between fork and exec; the filter outlives them.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
        };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `install` allocates nothing and takes no lock.
    unsafe { command.pre_exec(install) };
    command
}

/// The gateway under a limit of its own; the hard limit too, so that it cannot raise it again.
fn limited(resource: libc::__rlimit_resource_t, limit: u64) -> Command {
    let mut command = program();
    let set = move || {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a plain system call.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: `set` allocates nothing and takes no lock.
    unsafe { command.pre_exec(set) };
    command
}

/// Pushes, scrapes, and what the gateway says of its driver.
#[track_caller]
fn serves_by(server: &Server, driver: Option<&str>) {
    for round in 0..20 {
        server.must_put("/metrics/job/j", &format!("m {round}\n"));
    }
    let scrape = server.scrape();
    assert_eq!(scrape.samples("m"), [r#"m{instance="",job="j"} 19"#]);
    if let Some(driver) = driver {
        assert_eq!(
            scrape.value(&format!("floodway_driver_info{{driver=\"{driver}\"}}")),
            Some(1.0),
            "{}",
            scrape.text
        );
        let log = server.log();
        assert_eq!(log.matches("msg=Serving").count(), 1, "{log}");
        assert!(log.contains(&format!("driver={driver}")), "{log}");
    }
}

#[test]
fn where_io_uring_is_refused_epoll_serves() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::ENOMEM] {
        let server = Server::start_as(without_io_uring(errno), &["--web.workers=2"]);
        serves_by(&server, Some("epoll"));
        server.signal(libc::SIGTERM);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

/// Where this system lets us say so: `kernel.io_uring_disabled=2` is the same refusal.
#[test]
fn where_the_system_turns_io_uring_off_epoll_serves() {
    const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";
    let Ok(before) = std::fs::read_to_string(SWITCH) else { return };
    if before.trim() == "0" {
        // Only looked at: turning it off would turn it off for the whole system.
        serves_by(&Server::start(&[]), None);
    } else {
        serves_by(&Server::start(&[]), Some("epoll"));
    }
}

#[test]
fn little_locked_memory_is_enough() {
    for limit in [0, 64 * 1024] {
        serves_by(&Server::start_as(limited(libc::RLIMIT_MEMLOCK, limit), &["--web.workers=2"]), None);
    }
}

/// More connections than descriptors: those that fit are served, the process neither ends nor spins, and
/// once they go it serves as before.
#[test]
fn with_few_descriptors_the_quiet_make_room_and_it_recovers() {
    allow_many_descriptors();
    for limit in [64, 96] {
        let server = Server::start_as(limited(libc::RLIMIT_NOFILE, limit), &["--web.workers=2"]);
        // As many as this process may open beside other tests.
        let crowd: Vec<_> =
            (0..1000).map_while(|_| std::net::TcpStream::connect(server.address).ok()).collect();
        assert!(crowd.len() > 500, "{}", crowd.len());
        for round in 0..20 {
            server.must_put("/metrics/job/j", &format!("m {round}\n"));
        }
        let open = server.scrape().value("process_open_fds").unwrap();
        assert!(open <= limit as f64, "{open}");
        drop(crowd);
        let before = cpu_ticks(&server);
        thread::sleep(Duration::from_millis(300));
        // In hundredths of a second: an accept that fails over and over would take all of them.
        assert!(cpu_ticks(&server) - before < 25);
        serves_by(&server, None);
        let begun = Instant::now();
        while server.scrape().value("floodway_connections_open").unwrap() > 1.0 {
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(50));
        }
        assert!(raw_connection(&server).peer_addr().is_ok());
    }
}

/// Time that the process used so far, in the system's ticks.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// With too few descriptors for itself, it says so and does not start half.
#[test]
fn without_descriptors_for_itself_it_says_so() {
    for limit in [4, 8, 12] {
        let output = limited(libc::RLIMIT_NOFILE, limit)
            .args(["--web.listen-address=127.0.0.1:0", "--web.workers=4"])
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {log}");
        assert!(log.contains("Too many open files"), "{limit}: {log}");
        assert!(!log.contains("panicked"), "{limit}: {log}");
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_their_name() {
    let folder = std::env::temp_dir().join(format!("floodway-system-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let folder_path = folder.display().to_string();
    let not_text = folder.join("not-text.yml");
    std::fs::write(&not_text, b"a: \xff\xfe\0").unwrap();
    let deep = folder.join("deep.yml");
    std::fs::write(&deep, "[".repeat(100_000)).unwrap();
    let laughs = folder.join("laughs.yml");
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        text += &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(","));
    }
    std::fs::write(&laughs, text).unwrap();
    for (flag, says) in [
        (format!("--web.config.file={folder_path}"), "directory"),
        (format!("--web.config.file={folder_path}/none.yml"), "no such file or directory"),
        (format!("--web.config.file={}", not_text.display()), "not-text.yml"),
        (format!("--web.config.file={}", deep.display()), ""),
        (format!("--web.config.file={}", laughs.display()), ""),
        (format!("--plugin.dir={folder_path}/none"), "none"),
        (format!("--plugin.config={}", not_text.display()), "not-text.yml"),
        (format!("--plugin.config={}", deep.display()), "E_CONFIG"),
        (format!("--persistence.file={}", not_text.display()), "not-text.yml"),
        ("--persistence.file=/proc/none/here".to_owned(), "/proc/none"),
    ] {
        let output = run(&["--web.listen-address=127.0.0.1:0", &flag]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flag}: {log}");
        assert!(log.contains("level=error") && log.contains(says), "{flag}: {log}");
        assert!(!log.contains("Listening on") && !log.contains("panicked"), "{flag}: {log}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn addresses_that_cannot_be_had_end_the_start() {
    for (address, says) in [
        ("nonsense", "missing port in address"),
        ("127.0.0.1:99999", "invalid port"),
        ("127.0.0.1:-1", "invalid port"),
        ("192.0.2.1:0", "192.0.2.1:0"),
        ("[::1:9091", "[::1:9091"),
        ("no-such-host.invalid:0", "no-such-host.invalid"),
    ] {
        let output = run(&[&format!("--web.listen-address={address}")]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{address}: {log}");
        assert!(log.contains("level=error") && log.contains(says), "{address}: {log}");
    }
}

/// Only the path of an external URL is used, so a scheme that runs script does nothing.
#[test]
fn an_external_url_is_a_path_and_no_script() {
    for url in ["javascript:alert(1)", "javascript://x/%0Aalert(1)", "http://h/\"><script>alert(1)</script>"]
    {
        let output = program()
            .args(["--web.listen-address=nonsense", &format!("--web.external-url={url}")])
            .output()
            .unwrap();
        if String::from_utf8_lossy(&output.stderr).contains("try --help") {
            continue;
        }
        let server = Server::start(&[&format!("--web.external-url={url}"), "--web.route-prefix=/"]);
        let page = server.get("/");
        assert_eq!(page.status, 200);
        assert!(
            !page.text().contains("href=\"javascript:") && !page.text().contains("<script>alert"),
            "{}",
            page.text()
        );
    }
}

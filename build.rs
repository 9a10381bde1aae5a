//! Notes which compiler and which revision a build comes from, for `--version` and the build metrics.
//!
//! Everything may be given by the environment, so that a package built outside a checkout says the
//! truth and a repeated build says the same. Nothing is downloaded or generated.

use std::env;
use std::process::Command;

fn main() {
    for (name, program, args) in [
        ("FLOODWAY_REVISION", "git", ["rev-parse", "HEAD"]),
        ("FLOODWAY_BRANCH", "git", ["branch", "--show-current"]),
    ] {
        note(name, || output(program, &args));
    }
    note("FLOODWAY_RUST_VERSION", || {
        let line = output(&env::var("RUSTC").ok()?, &["--version"])?;
        Some(line.split_whitespace().nth(1)?.to_owned())
    });
    for name in ["FLOODWAY_BUILD_USER", "FLOODWAY_BUILD_DATE"] {
        note(name, || None);
    }
    println!("cargo::rustc-env=FLOODWAY_TARGET_OS={}", env::var("CARGO_CFG_TARGET_OS").unwrap());
    println!("cargo::rustc-env=FLOODWAY_TARGET_ARCH={}", env::var("CARGO_CFG_TARGET_ARCH").unwrap());
    println!("cargo::rerun-if-changed=build.rs");
    // Moves with every commit and checkout. Cargo reruns on each build for a file that is not there.
    if let Some(head) = output("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&head).exists()
    {
        println!("cargo::rerun-if-changed={head}");
    }
}

/// Hands `name` to the compiler: from the environment, else found out, else `unknown`.
fn note(name: &str, find: impl FnOnce() -> Option<String>) {
    println!("cargo::rerun-if-env-changed={name}");
    let value = env::var(name).ok().or_else(find).filter(|value| !value.is_empty());
    println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

//! What this binary was built from, fixed at compile time by `build.rs`.

/// The version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, or `unknown` outside a checkout.
pub const REVISION: &str = env!("FLOODWAY_REVISION");

/// The branch, or `unknown` outside a checkout and on a detached head.
pub const BRANCH: &str = env!("FLOODWAY_BRANCH");

/// Who built it: `FLOODWAY_BUILD_USER` of the build, or `unknown`, so that builds can be repeated.
pub const BUILD_USER: &str = env!("FLOODWAY_BUILD_USER");

/// When it was built: `FLOODWAY_BUILD_DATE` of the build, or `unknown`.
pub const BUILD_DATE: &str = env!("FLOODWAY_BUILD_DATE");

/// The compiler's version with the word in front, so that it stands where the reference shows `go1.24`.
pub const RUST_VERSION: &str = concat!("rust", env!("FLOODWAY_RUST_VERSION"));

/// The operating system, spelled alike in Rust and Go for all that we run on.
pub const OS: &str = env!("FLOODWAY_TARGET_OS");

/// The processor as Go spells it, which is what dashboards of the reference select by.
pub const ARCH: &str = go_arch(env!("FLOODWAY_TARGET_ARCH"));

/// Build tags, of which we have none; the reference prints this word then.
pub const TAGS: &str = "unknown";

const fn go_arch(arch: &'static str) -> &'static str {
    match arch.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        b"x86" => "386",
        b"powerpc64" => "ppc64",
        b"loongarch64" => "loong64",
        _ => arch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_spelled_as_go_does() {
        assert_eq!(go_arch("x86_64"), "amd64");
        assert_eq!(go_arch("riscv64"), "riscv64");
        assert!(RUST_VERSION.starts_with("rust1."), "{RUST_VERSION}");
    }
}

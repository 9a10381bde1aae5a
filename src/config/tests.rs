//! The command line as a whole: what each input does, in the reference's words.

use super::*;

fn read(args: &[&str]) -> Result<Config, Stop> {
    let args = std::iter::once("/usr/bin/floodway").chain(args.iter().copied()).map(OsString::from);
    Config::from_args(args, UnixNanos(1))
}

fn check_error(args: &[&str], expect: &str) {
    let stop = read(args).expect_err(&format!("{args:?} is refused"));
    assert_eq!(stop, Stop::Refuse(format!("floodway: error: {expect}, try --help")), "{args:?}");
}

#[test]
fn every_error_of_the_reference() {
    check_error(&["--nope"], "unknown long flag '--nope'");
    check_error(&["-x"], "unknown short flag '-x'");
    check_error(&["-"], "unknown short flag '-'");
    check_error(&["extra"], "unexpected extra");
    check_error(&["--web.enable-lifecycle=true"], "unexpected true");
    check_error(&["--no-persistence.file"], "unknown long flag '--no-persistence.file'");
    check_error(&["--persistence.file"], "expected argument for flag '--persistence.file'");
    check_error(&["--persistence.interval=abc"], "time: invalid duration \"abc\"");
    check_error(&["--persistence.interval=90"], "time: missing unit in duration \"90\"");
    check_error(&["--persistence.interval=1d"], "time: unknown unit \"d\" in duration \"1d\"");
    check_error(&["--web.external-url=:::"], "invalid URL: parse \":::\": missing protocol scheme");
    check_error(&["--log.level=foo"], "unrecognized log level foo");
    check_error(&["--log.format=foo"], "unrecognized log format foo");
    check_error(&["--log.format=JSON"], "unrecognized log format JSON");
    check_error(
        &["@/nope"],
        "failed to open arguments file \"/nope\": open /nope: no such file or directory",
    );
    check_error(&["--log.level=info", "--log.level=info"], "flag 'log.level' cannot be repeated");
}

#[test]
fn our_own_errors() {
    check_error(&["--web.workers=-1"], "--web.workers must be a whole number of at least 0, got \"-1\"");
    check_error(
        &["--limit.body-bytes=0"],
        "--limit.body-bytes must be a whole number of at least 1, got \"0\"",
    );
    check_error(&["--push.success-code=204"], "--push.success-code must be 200 or 202, got \"204\"");
    check_error(&["--limit.head-deadline=-1s"], "--limit.head-deadline must be longer than zero, got -1s");
    check_error(
        &["--limit.decoded-bytes=5"],
        "--limit.decoded-bytes must not be smaller than --limit.body-bytes",
    );
    check_error(&["--limit.decoded-bytes=1073741825"], "--limit.decoded-bytes must be at most 1073741824");
    check_error(
        &["--web.listen-address=vsock://:1"],
        "--web.listen-address: vsock is not supported yet: vsock://:1",
    );
    check_error(&["--web.telemetry-path="], "--web.telemetry-path must begin with a slash: \"\"");
}

#[test]
fn precedence_of_help_version_and_faults() {
    let printed = |args: &[&str]| match read(args) {
        Err(Stop::Print(text)) => text.split_whitespace().next().unwrap_or_default().to_owned(),
        other => panic!("{args:?}: {other:?}"),
    };
    assert_eq!(printed(&["--help"]), "usage:");
    assert_eq!(printed(&["-h"]), "usage:");
    assert_eq!(printed(&["--help-man"]), ".TH");
    assert_eq!(printed(&["--version", "--nope"]), "floodway,");
    assert_eq!(printed(&["--help", "--version"]), "floodway,");
    assert_eq!(printed(&["--log.level=foo", "--help"]), "usage:");
    check_error(&["--help", "--nope"], "unknown long flag '--nope'");
    check_error(&["--nope", "--version"], "unknown long flag '--nope'");
}

#[test]
fn defaults() {
    let config = read(&[]).unwrap();
    assert_eq!(config.listen, [":9091"]);
    assert_eq!(config.paths.metrics, "/metrics");
    assert!(config.check_consistency && !config.utf8_names && !config.lifecycle && !config.admin_api);
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Logfmt));
    assert!(config.workers >= 1);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn values_are_shown_as_the_reference_shows_them() {
    let config = read(&[
        "--web.listen-address=127.0.0.1:1",
        "--web.listen-address",
        "[::1]:2",
        "--web.external-url=http://example.org/ext/",
        "--web.enable-admin-api",
        "--log.level=DEBUG",
        "--persistence.interval=90s",
    ])
    .unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1", "[::1]:2"]);
    assert!(config.info.flags.is_sorted());
    let shown: Vec<String> = config
        .info
        .flags
        .iter()
        .filter(|(name, _)| !name.starts_with("limit.") && *name != "web.workers")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        shown,
        [
            "lifetime.config=",
            "lifetime.default=0s",
            "log.format=logfmt",
            "log.level=debug",
            "merge.config=",
            "merge.dialect=",
            "merge.keys=1024",
            "merge.keys-for=1h0m0s",
            "persistence.file=",
            "persistence.interval=1m30s",
            "persistence.salvage=false",
            "persistence.sync=always",
            "plugin.allow-broken=false",
            "plugin.config=",
            "plugin.dir=",
            "plugin.max-time=50ms",
            "plugin.watch=false",
            "push.disable-consistency-check=false",
            "push.enable-utf8-names=false",
            "push.lenient=false",
            "push.success-code=200",
            "web.config.file=",
            "web.enable-admin-api=true",
            "web.enable-lifecycle=false",
            "web.enable-openmetrics=false",
            "web.external-url=http://example.org/ext/",
            "web.listen-address=127.0.0.1:1,[::1]:2",
            "web.route-prefix=/ext",
            "web.systemd-socket=false",
            "web.telemetry-path=/metrics",
        ]
    );
}

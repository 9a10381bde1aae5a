//! The flag table: every flag with its default, its meaning and what setting it does.
//!
//! The only place a flag is described. Parsing, `--help`, the man page, shell completions, the status
//! page and `/api/v1/status` all read it. Order is the order of `--help`, which for the reference's own
//! flags is the reference's.

use super::duration::GoDuration;
use super::flag::{Action, Flag, Kind, LogFormat, LogLevel, Role, Section, SyncMode};
use super::url;
use crate::limits;
use crate::model::{Dialect, Lifetime};

const fn action(name: &'static str, action: Action, help: &'static str) -> Flag {
    let short = if matches!(action, Action::Help) { Some('h') } else { None };
    let (kind, section, role) = (Kind::Switch, Section::General, Role::Action(action));
    Flag { name, short, kind, default: "false", help, section, role }
}

/// The help of a flag that does nothing in a build without plugins.
const fn with_plugins(help: &'static str) -> &'static str {
    if cfg!(feature = "plugins") { help } else { "Not in this program: it was built without plugins." }
}

macro_rules! switch {
    ($name:literal, $section:ident, $field:ident, $help:literal) => {
        Flag {
            name: $name,
            short: None,
            kind: Kind::Switch,
            default: "false",
            help: $help,
            section: Section::$section,
            role: Role::Setting {
                set: |draft, value| {
                    draft.$field = value == "true";
                    Ok(())
                },
                show: |draft| draft.$field.to_string(),
            },
        }
    };
}

macro_rules! setting {
    ($name:literal, $section:ident, $kind:expr, $default:expr, $help:expr,
     set: $set:expr, show: $show:expr) => {{
        use Kind::*;
        Flag {
            name: $name,
            short: None,
            kind: $kind,
            default: $default,
            help: $help,
            section: Section::$section,
            role: Role::Setting { set: $set, show: $show },
        }
    }};
}

macro_rules! text {
    ($name:literal, $section:ident, $field:ident, $default:literal, $help:literal) => {
        setting!($name, $section, Text, $default, $help,
            set: |draft, value| {
                draft.$field = value.to_owned();
                Ok(())
            },
            show: |draft| draft.$field.clone())
    };
}

macro_rules! size {
    ($name:literal, $field:ident, $default:literal, $help:literal) => {
        setting!($name, Limits, Word, $default, $help,
            set: |draft, value| {
                draft.limits.$field = whole_number(concat!("--", $name), value, 1)?;
                Ok(())
            },
            show: |draft| draft.limits.$field.to_string())
    };
}

/// A limit that 0 turns off.
macro_rules! ceiling {
    ($name:literal, $field:ident, $default:literal, $help:literal) => {
        setting!($name, Limits, Word, $default, $help,
            set: |draft, value| {
                draft.limits.$field = whole_number(concat!("--", $name), value, 0)?;
                Ok(())
            },
            show: |draft| draft.limits.$field.to_string())
    };
}

macro_rules! deadline {
    ($name:literal, $field:ident, $default:literal, $help:literal) => {
        setting!($name, Limits, Word, $default, $help,
            set: |draft, value| {
                let nanos = GoDuration::parse(value)?.0;
                if nanos <= 0 {
                    return Err(format!(concat!("--", $name, " must be longer than zero, got {}"), value));
                }
                draft.limits.$field = std::time::Duration::from_nanos(nanos.unsigned_abs());
                Ok(())
            },
            show: |draft| {
                GoDuration(i64::try_from(draft.limits.$field.as_nanos()).unwrap_or(i64::MAX)).to_string()
            })
    };
}

/// All flags, in the order of `--help`.
pub static FLAGS: &[Flag] = &[
    action("help", Action::Help, "Print this help (--help-long and --help-man print more)."),
    action("help-long", Action::HelpLong, "Print the help by sections."),
    action("help-man", Action::HelpMan, "Print a man page."),
    action("completion-script-bash", Action::CompletionBash, "Print a completion script for bash."),
    action("completion-script-zsh", Action::CompletionZsh, "Print a completion script for zsh."),
    switch!(
        "web.systemd-socket",
        Web,
        systemd_socket,
        "Take the listening sockets from systemd instead of opening ports."
    ),
    setting!("web.listen-address", Web, List, ":9091",
        "Address to listen on. Give it again to listen on several; leave it empty for any free port.",
        set: |draft, value| {
            if value.starts_with("vsock://") {
                return Err(format!("--web.listen-address: vsock is not supported yet: {value}"));
            }
            draft.listen.push(value.to_owned());
            Ok(())
        },
        show: |draft| draft.listen.join(",")),
    text!(
        "web.config.file",
        Web,
        config_file,
        "",
        "File that configures TLS, passwords, headers and a rate limit, in the form of Prometheus' exporter-toolkit. Read again on SIGHUP and when it changes."
    ),
    text!(
        "web.telemetry-path",
        Web,
        telemetry_path,
        "/metrics",
        "Path under which metrics are scraped. Pushes stay under /metrics."
    ),
    setting!("web.external-url", Web, Placeholder("URL"), "",
        "URL under which the gateway is reached from outside, such as behind a proxy. Its path is the default of the route prefix and stands in front of links.",
        set: |draft, value| {
            draft.external_path = url::path_of(value)?;
            draft.external_url = value.to_owned();
            Ok(())
        },
        show: |draft| draft.external_url.clone()),
    text!(
        "web.route-prefix",
        Web,
        route_prefix,
        "",
        "Prefix of all routes. Without it, the path of the external URL."
    ),
    switch!("web.enable-lifecycle", Web, lifecycle, "Allow shutdown by PUT or POST to /-/quit."),
    switch!(
        "web.enable-admin-api",
        Web,
        admin_api,
        "Allow deleting all groups by PUT to /api/v1/admin/wipe."
    ),
    switch!(
        "web.enable-openmetrics",
        Web,
        openmetrics,
        "Answer scrapers that ask for OpenMetrics in it. Prometheus then names some series differently."
    ),
    text!(
        "persistence.file",
        Persistence,
        persistence_file,
        "",
        "Directory in which groups are kept across restarts. Without it they are kept in memory only."
    ),
    setting!("persistence.interval", Persistence, Word, "5m",
        "With --persistence.sync=interval, the time between two saves.",
        set: |draft, value| {
            draft.persistence_interval = GoDuration::parse(value)?.0;
            Ok(())
        },
        show: |draft| GoDuration(draft.persistence_interval).to_string()),
    setting!("persistence.sync", Persistence, Word, "always",
        "When a push is on the disk: before it is answered, after an interval at most, or whenever the system likes. One of: always, interval, never.",
        set: |draft, value| {
            draft.persistence_sync = match value {
                "always" => SyncMode::Always,
                "interval" => SyncMode::Interval,
                "never" => SyncMode::Never,
                _ => return Err(format!("--persistence.sync must be always, interval or never, got {value:?}")),
            };
            Ok(())
        },
        show: |draft| format!("{:?}", draft.persistence_sync).to_lowercase()),
    switch!(
        "persistence.salvage",
        Persistence,
        persistence_salvage,
        "If the groups on the disk are damaged, keep them aside and start with what is readable."
    ),
    switch!(
        "push.disable-consistency-check",
        Push,
        disable_consistency_check,
        "Accept pushes unchecked, with 202. What contradicts another group is hidden from scrapes."
    ),
    switch!("push.enable-utf8-names", Push, utf8_names, "Accept metric and label names in any UTF-8."),
    setting!("plugin.dir", Plugins, Text, "",
        with_plugins("Directory with Lua plugins. Setting it switches plugins on."),
        set: |draft, value| {
            draft.plugins.dir = value.to_owned();
            Ok(())
        },
        show: |draft| draft.plugins.dir.clone()),
    setting!("plugin.config", Plugins, Text, "",
        with_plugins("File that says which plugins run and how. Without it, plugins.yml in the plugin directory."),
        set: |draft, value| {
            draft.plugins.config = value.to_owned();
            Ok(())
        },
        show: |draft| draft.plugins.config.clone()),
    setting!("plugin.watch", Plugins, Switch, "false",
        with_plugins("Reload plugins when their files change."),
        set: |draft, value| {
            draft.plugins.watch = value == "true";
            Ok(())
        },
        show: |draft| draft.plugins.watch.to_string()),
    setting!("plugin.allow-broken", Plugins, Switch, "false",
        with_plugins("Start although a plugin fails to load. The failed one is left out."),
        set: |draft, value| {
            draft.plugins.allow_broken = value == "true";
            Ok(())
        },
        show: |draft| draft.plugins.allow_broken.to_string()),
    setting!("plugin.max-time", Plugins, Word, "50ms",
    with_plugins("Longest time that one plugin may take for a push, whatever its own budget says."),
    set: |draft, value| {
        let nanos = GoDuration::parse(value)?.0;
        if nanos <= 0 {
            return Err(format!("--plugin.max-time must be longer than zero, got {value}"));
        }
        draft.plugins.time_max = std::time::Duration::from_nanos(nanos.unsigned_abs());
        Ok(())
    },
    show: |draft| {
        GoDuration(i64::try_from(draft.plugins.time_max.as_nanos()).unwrap_or(i64::MAX)).to_string()
    }),
    setting!("lifetime.default", Lifetimes, Word, "0",
        "For how long a group lives after its last successful push where neither a rule, the push nor a plugin says. Takes days too: 7d. 0 stands for ever.",
        set: |draft, value| {
            draft.lifetimes.default = Lifetime::parse(value).map_err(|fault| format!("--lifetime.default: {fault}"))?;
            Ok(())
        },
        show: |draft| draft.lifetimes.default.to_string()),
    setting!("lifetime.config", Lifetimes, Text, "",
        "File with rules that say for how long groups live, by selectors on their grouping labels.",
        set: |draft, value| {
            draft.lifetimes.config = (!value.is_empty()).then(|| value.into());
            Ok(())
        },
        show: |draft| draft.lifetimes.config.iter().map(|path| path.display().to_string()).collect()),
    setting!("merge.config", Merging, Text, "",
        "File with rules that say which pushed families are merged with the stored ones and how: replace, sum, min, max, last or first.",
        set: |draft, value| {
            draft.merging.config = (!value.is_empty()).then(|| value.into());
            Ok(())
        },
        show: |draft| draft.merging.config.iter().map(|path| path.display().to_string()).collect()),
    setting!("merge.dialect", Merging, Text, "",
        "Take pushes in the way of another gateway: aggregation-gateway (prom-aggregation-gateway) or gravel (gravel-gateway). They add up where no rule says otherwise, PUT too, and POST on the bare /metrics path is taken.",
        set: |draft, value| {
            draft.merging.dialect = Dialect::parse(value).map_err(|fault| format!("--merge.dialect {fault}"))?;
            Ok(())
        },
        show: |draft| draft.merging.dialect.name().to_owned()),
    setting!("merge.keys", Merging, Word, "1024",
        "How many keys of merged pushes (Idempotency-Key) a group remembers, so that a repeated push is not merged again.",
        set: |draft, value| {
            let count: usize = value.parse().map_err(|_| format!("--merge.keys must be a whole number, got {value}"))?;
            if !(1..=limits::MERGE_KEYS_MAX).contains(&count) {
                return Err(format!("--merge.keys must be from 1 to {}, got {value}", limits::MERGE_KEYS_MAX));
            }
            draft.merging.keys = count;
            Ok(())
        },
        show: |draft| draft.merging.keys.to_string()),
    setting!("merge.keys-for", Merging, Word, "1h",
    "For how long it remembers them.",
    set: |draft, value| {
        let nanos = GoDuration::parse(value)?.0;
        if nanos <= 0 {
            return Err(format!("--merge.keys-for must be longer than zero, got {value}"));
        }
        draft.merging.keys_for = std::time::Duration::from_nanos(nanos.unsigned_abs());
        Ok(())
    },
    show: |draft| {
        GoDuration(i64::try_from(draft.merging.keys_for.as_nanos()).unwrap_or(i64::MAX)).to_string()
    }),
    switch!(
        "push.lenient",
        Push,
        lenient,
        "Accept CR LF line ends and a missing last line end, and drop timestamps instead of refusing them."
    ),
    setting!("push.success-code", Push, Word, "200",
        "Status code of an accepted push, for clients that know only one. One of: 200, 202. Unchecked pushes and deletions always get 202.",
        set: |draft, value| {
            draft.push_status = match value {
                "200" => 200,
                "202" => 202,
                _ => return Err(format!("--push.success-code must be 200 or 202, got {value:?}")),
            };
            Ok(())
        },
        show: |draft| draft.push_status.to_string()),
    setting!("log.level", Log, Word, "info",
        "Log events of this severity and above. One of: debug, info, warn, error.",
        set: |draft, value| {
            draft.log_level = match value.to_lowercase().as_str() {
                "debug" => LogLevel::Debug,
                "info" => LogLevel::Info,
                "warn" => LogLevel::Warn,
                "error" => LogLevel::Error,
                _ => return Err(format!("unrecognized log level {value}")),
            };
            Ok(())
        },
        show: |draft| format!("{:?}", draft.log_level).to_lowercase()),
    setting!("log.format", Log, Word, "logfmt",
        "Form of log lines. One of: logfmt, json.",
        set: |draft, value| {
            draft.log_format = match value {
                "logfmt" => LogFormat::Logfmt,
                "json" => LogFormat::Json,
                _ => return Err(format!("unrecognized log format {value}")),
            };
            Ok(())
        },
        show: |draft| format!("{:?}", draft.log_format).to_lowercase()),
    setting!("web.workers", Web, Word, "0",
        "Threads that serve connections. 0 stands for one per core available to the process.",
        set: |draft, value| {
            draft.workers = whole_number("--web.workers", value, 0)?;
            Ok(())
        },
        show: |draft| draft.workers.to_string()),
    size!(
        "limit.head-bytes",
        head_bytes,
        "32768",
        "Longest request head, in bytes; from 1024 to 65535. The request line has a limit of its own."
    ),
    size!("limit.body-bytes", body_bytes, "67108864", "Largest request body as sent, in bytes."),
    size!("limit.decoded-bytes", decoded_bytes, "134217728", "Largest request body once decoded, in bytes."),
    size!("limit.push-families", push_families, "1000000", "Most metric families in one push."),
    size!("limit.push-series", push_series, "1000000", "Most series in one push."),
    size!(
        "limit.series-labels",
        series_labels,
        "256",
        "Most labels of one series, grouping labels and instance included."
    ),
    size!("limit.label-value-bytes", label_value_bytes, "65536", "Longest value of a label, in bytes."),
    ceiling!("limit.groups", groups, "0", "Most groups held. 0 turns the limit off."),
    ceiling!("limit.series", series, "0", "Most series held. 0 turns the limit off."),
    ceiling!(
        "limit.job-series",
        job_series,
        "0",
        "Most series held in all groups of one job. 0 turns the limit off."
    ),
    ceiling!(
        "limit.memory",
        memory,
        "0",
        "Most memory that groups take, in bytes, without rendered metrics. 0 turns the limit off."
    ),
    ceiling!(
        "limit.grouping-name-sets",
        grouping_name_sets,
        "1024",
        "Most different sets of grouping label names in use. 0 turns the limit off; each push of a new shape then takes longer the more there are."
    ),
    ceiling!(
        "limit.connections",
        connections,
        "0",
        "Most connections open at once. 0 stands for as many as the process may open descriptors."
    ),
    ceiling!(
        "limit.connections-per-address",
        connections_per_address,
        "0",
        "Most connections open at once from one address (IPv6: from one /64). 0 turns the limit off."
    ),
    size!(
        "limit.exposition-cache",
        exposition_cache,
        "1073741824",
        "Most bytes of rendered and compressed metrics kept ready for scrapes."
    ),
    deadline!(
        "limit.head-deadline",
        head_deadline,
        "10s",
        "Longest wait for a whole request head, from its first byte."
    ),
    deadline!(
        "limit.body-deadline",
        body_deadline,
        "1m",
        "Longest wait for a whole request body; each 16 KiB of it that arrive give the rest a second more."
    ),
    deadline!("limit.idle-deadline", idle_deadline, "5m", "Longest quiet time of a connection kept open."),
    deadline!(
        "limit.write-deadline",
        write_deadline,
        "30s",
        "Longest wait for a client to take the next piece of an answer."
    ),
    action("version", Action::Version, "Print the version and what the binary was built from."),
];

fn whole_number(name: &str, value: &str, least: usize) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("{name} must be a whole number of at least {least}, got {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::flag::Draft;
    use super::*;
    use crate::config::Limits;

    #[test]
    fn every_default_is_accepted_and_every_help_is_sentences() {
        for flag in FLAGS {
            if let Role::Setting { set, .. } = flag.role {
                set(&mut Draft::default(), flag.default).unwrap();
            }
            assert!(flag.help.ends_with('.'), "--{}", flag.name);
            assert!(flag.help.starts_with(char::is_uppercase), "--{}", flag.name);
        }
    }

    #[test]
    fn names_are_unique_and_none_looks_like_a_negation() {
        for (at, flag) in FLAGS.iter().enumerate() {
            assert!(!flag.name.starts_with("no-"), "{}", flag.name);
            assert!(FLAGS[..at].iter().all(|other| other.name != flag.name), "{}", flag.name);
        }
    }

    #[test]
    fn limits_default_to_the_constants() {
        let mut draft = Draft { limits: Limits { body_bytes: 0, ..Limits::default() }, ..Draft::default() };
        for flag in FLAGS {
            if let Role::Setting { set, .. } = flag.role {
                set(&mut draft, flag.default).unwrap();
            }
        }
        assert_eq!(draft.limits, Limits::default());
    }
}

//! What `--help`, `--help-long`, `--help-man`, `--version` and the completion scripts print: all of it
//! from the flag table, the short help in the layout of the reference's.

use super::flag::{Action, Flag, Kind, Section};
use super::flags::FLAGS;
use crate::build_info;

const ABOUT: &str = "Floodway, a push gateway for Prometheus";

const ABOUT_SWITCHES: &str =
    "A flag without a value also has a form that turns it off, such as --no-web.enable-lifecycle.";

/// What the program does besides serving: its first words, and what it is for.
const COMMANDS: [(&str, &str); 4] = [
    ("import FILE", "Take over a data file of the Pushgateway without serving; the old one is kept beside."),
    (
        "export [--format=text|protobuf] DIRECTORY",
        "Write the groups that --persistence.file keeps to standard output.",
    ),
    (
        "healthcheck [URL]",
        "Ask a gateway whether it is healthy; by default the one on port 9091 of this machine.",
    ),
    ("plugin COMMAND", "Check, test, try out, list, show or begin plugins; without a command, say how."),
];

/// Columns of the help text, which is what the reference uses away from a terminal.
const WIDTH: usize = 80;

/// A first column wider than this stands on a line of its own.
const COLUMN_WIDTH_MAX: usize = 30;

/// The text of `action` for a program called `program`.
pub fn text(action: Action, program: &str) -> String {
    match action {
        Action::Help => usage(program),
        Action::HelpLong => long_usage(program),
        Action::HelpMan => man_page(program),
        Action::CompletionBash => bash_completion(program),
        Action::CompletionZsh => zsh_completion(program),
        Action::Version => version(),
    }
}

fn listed() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| !flag.is_hidden())
}

fn usage(program: &str) -> String {
    let mut out = format!("usage: {program} [<flags>]\n\n{ABOUT}\n\nFlags:\n");
    push_flags(&mut out, listed());
    push_end(&mut out);
    out
}

fn long_usage(program: &str) -> String {
    let mut out = format!("usage: {program} [<flags>]\n\n{ABOUT}\n");
    for section in Section::ALL {
        out.push_str(&format!("\n{}:\n", section.title()));
        push_flags(&mut out, FLAGS.iter().filter(|flag| flag.section == section));
    }
    push_end(&mut out);
    out
}

/// What follows the flags.
fn push_end(out: &mut String) {
    out.push_str(&format!("\n{}\n\nCommands:\n", wrapped(ABOUT_SWITCHES, WIDTH).join("\n")));
    push_rows(out, COMMANDS.map(|(command, help)| (command.to_owned(), help)).into());
    out.push('\n');
}

/// The flag with its dashes and default: `--log.level=info`, `--web.enable-lifecycle`.
fn signature(flag: &Flag) -> String {
    let Flag { name, default, .. } = flag;
    match flag.kind {
        Kind::Switch => format!("--{name}"),
        Kind::Text => format!("--{name}={default:?}"),
        Kind::Word => format!("--{name}={default}"),
        Kind::List => format!("--{name}={default} ..."),
        Kind::Placeholder(shown) => format!("--{name}={shown}"),
    }
}

fn push_flags(out: &mut String, flags: impl Iterator<Item = &'static Flag>) {
    let row = |flag: &'static Flag| {
        let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        (short + &signature(flag), flag.help)
    };
    push_rows(out, flags.map(row).collect());
}

/// Two columns.
fn push_rows(out: &mut String, rows: Vec<(String, &str)>) {
    let column = rows
        .iter()
        .map(|row| row.0.len())
        .filter(|width| *width < COLUMN_WIDTH_MAX)
        .max()
        .unwrap_or(COLUMN_WIDTH_MAX - 4);
    for (left, help) in rows {
        out.push_str(&format!("  {left:column$}  "));
        if left.len() >= COLUMN_WIDTH_MAX {
            out.push_str(&format!("\n  {:column$}  ", ""));
        }
        for (number, line) in wrapped(help, WIDTH - column - 4).into_iter().enumerate() {
            if number > 0 {
                out.push_str(&format!("  {:column$}  ", ""));
            }
            out.push_str(&line);
            out.push('\n');
        }
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            let blank = if line.is_empty() { "" } else { " " };
            line.push_str(blank);
            line.push_str(word);
        }
    }
    lines
}

/// In the layout of Prometheus programs, which scripts pick the version from.
fn version() -> String {
    let mut out = format!(
        "floodway, version {} (branch: {}, revision: {})\n",
        build_info::VERSION,
        build_info::BRANCH,
        build_info::REVISION
    );
    for (label, value) in [
        ("build user:", build_info::BUILD_USER),
        ("build date:", build_info::BUILD_DATE),
        ("rust version:", build_info::RUST_VERSION),
        ("platform:", &format!("{}/{}", build_info::OS, build_info::ARCH)),
        ("tags:", build_info::TAGS),
    ] {
        out.push_str(&format!("  {label:18}{value}\n"));
    }
    out
}

fn man_page(program: &str) -> String {
    // A hyphen would be set as a dash, and a dot at the start of a line as a command.
    let plain = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace("\n.", "\n\\&.");
    let name = plain(program);
    let mut out = format!(".TH {name} 1 \"\" \"{}\" \"\"\n", plain(build_info::VERSION));
    out.push_str(&format!(".SH NAME\n{name} \\- {}\n", plain(ABOUT)));
    out.push_str(&format!(".SH SYNOPSIS\n.TP\n\\fB{name} [<flags>]\\fR\n"));
    out.push_str(
        ".SH DESCRIPTION\nKeeps the metrics that short\\-lived jobs push, for Prometheus to scrape.\n",
    );
    for section in Section::ALL {
        out.push_str(&format!(".SH {}\n", section.title().to_uppercase()));
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            let short = flag.short.map_or(String::new(), |short| format!("\\-{short}, "));
            out.push_str(&format!(".TP\n\\fB{short}{}\\fR\n{}\n", plain(&signature(flag)), plain(flag.help)));
        }
    }
    out.push_str(".SH COMMANDS\n");
    for (command, help) in COMMANDS {
        out.push_str(&format!(".TP\n\\fB{name} {}\\fR\n{}\n", plain(command), plain(help)));
    }
    out
}

/// Every way to spell a listed flag, after the first words of the commands.
fn spellings() -> Vec<String> {
    let first = |(command, _): &(&str, &str)| command.split(' ').next().unwrap_or_default().to_owned();
    let mut spellings: Vec<String> = COMMANDS.iter().map(first).collect();
    for flag in listed() {
        spellings.push(format!("--{}", flag.name));
        if flag.is_switch() {
            spellings.push(format!("--no-{}", flag.name));
        }
    }
    spellings
}

fn bash_completion(program: &str) -> String {
    let function = format!("_{}_flags", program.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    format!(
        "{function}() {{\n    COMPREPLY=( $(compgen -W \"{}\" -- \"${{COMP_WORDS[COMP_CWORD]}}\") )\n}}\n\
         complete -o default -F {function} {program}\n",
        spellings().join(" ")
    )
}

fn zsh_completion(program: &str) -> String {
    format!("#compdef {program}\ncompadd -- {}\n_files\n", spellings().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_the_reference_flags_in_its_order() {
        let help = usage("pushgateway");
        assert!(help.starts_with(
            "usage: pushgateway [<flags>]\n\nFloodway, a push gateway for Prometheus\n\nFlags:\n  -h, --help "
        ));
        let order = [
            "--help ",
            "--web.systemd-socket\n",
            "--web.listen-address=:9091 ...\n",
            "--web.config.file=\"\" ",
            "--web.telemetry-path=\"/metrics\"\n",
            "--web.external-url=URL ",
            "--web.route-prefix=\"\" ",
            "--web.enable-lifecycle\n",
            "--web.enable-admin-api\n",
            "--persistence.file=\"\" ",
            "--persistence.interval=5m ",
            "--push.disable-consistency-check",
            "--push.enable-utf8-names",
            "--log.level=info ",
            "--log.format=logfmt ",
            "--version ",
        ];
        let help: String = help.lines().map(|line| line.trim_end().to_owned() + " \n").collect();
        let mut from = 0;
        for signature in order {
            let signature = signature.trim_end();
            let at = help[from..].find(signature).unwrap_or_else(|| panic!("{signature} in {help}"));
            from += at + signature.len();
        }
        assert!(!help.contains("help-man="));
        assert!(help.lines().all(|line| line.trim_end().len() <= WIDTH), "{help}");
    }

    #[test]
    fn version_has_the_shape_that_scripts_read() {
        let text = version();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("floodway, version {} (branch: ", build_info::VERSION)));
        assert_eq!(lines.len(), 6);
        for line in &lines[1..] {
            assert!(
                line.starts_with("  ") && line.as_bytes()[19] == b' ' && line.as_bytes()[20] != b' ',
                "{line}"
            );
        }
    }

    #[test]
    fn longer_forms_hold_every_flag() {
        for flag in FLAGS {
            assert!(long_usage("floodway").contains(&signature(flag)), "{}", flag.name);
            assert!(man_page("floodway").contains(&flag.name.replace('-', "\\-")), "{}", flag.name);
        }
        for (command, _) in COMMANDS {
            assert!(usage("floodway").contains(&format!("\n  {command}")), "{command}");
            assert!(man_page("floodway").contains(&format!("floodway {}", command.replace('-', "\\-"))));
        }
        assert!(man_page("floodway").starts_with(".TH floodway 1"));
        assert!(bash_completion("a-b").contains("complete -o default -F _a_b_flags a-b"));
        assert!(zsh_completion("floodway").contains(" --no-web.enable-lifecycle "));
    }
}

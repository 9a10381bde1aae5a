//! Splits the command line as the reference's flag library (kingpin) does, texts of errors included.
//!
//! `--name=value`, `--name value`, `--no-name` for switches, `@FILE` for arguments out of a file, `--`
//! to end the flags. Values are not looked at here.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::flag::Flag;
use super::flags::FLAGS;
use crate::format::quote::quoted;

/// Argument files that one command line may name; a file that names itself would never end.
const ARGUMENT_FILES_MAX: usize = 100;

/// One flag as given, with its value; `true` or `false` for a switch.
#[derive(Debug)]
pub struct Given {
    pub flag: &'static Flag,
    pub value: String,
}

/// The flags in the order given, up to the first fault, and that fault.
///
/// Both, because `--version` takes effect even when something after it is wrong.
pub fn split(args: impl IntoIterator<Item = String>) -> (Vec<Given>, Option<String>) {
    let mut args: Vec<String> = args.into_iter().collect();
    args.reverse();
    let mut tokens = Tokens { args, peeked: None, flags_ended: false, files_left: ARGUMENT_FILES_MAX };
    let mut given = Vec::new();
    loop {
        match next_flag(&mut tokens) {
            Ok(Some(flag)) => given.push(flag),
            Ok(None) => return (given, None),
            Err(text) => return (given, Some(text)),
        }
    }
}

fn next_flag(tokens: &mut Tokens) -> Result<Option<Given>, String> {
    let (flag, inverted, written) = match tokens.next()? {
        Token::End => return Ok(None),
        Token::Argument(argument) => return Err(format!("unexpected {argument}")),
        Token::Short(short) => {
            let flag = FLAGS.iter().find(|flag| flag.short.is_some() && flag.short == short);
            let written = short.map_or("-".to_owned(), |short| format!("-{short}"));
            (flag.ok_or_else(|| format!("unknown short flag '{written}'"))?, false, written)
        }
        Token::Long(name) => {
            let find = |name: &str| FLAGS.iter().find(|flag| flag.name == name);
            let unknown = || format!("unknown long flag '--{name}'");
            let (flag, inverted) = match (find(&name), name.strip_prefix("no-").and_then(find)) {
                (Some(flag), _) => (flag, false),
                (None, Some(flag)) if flag.is_switch() => (flag, true),
                _ => return Err(unknown()),
            };
            (flag, inverted, format!("--{name}"))
        }
    };
    if flag.is_switch() {
        return Ok(Some(Given { flag, value: (!inverted).to_string() }));
    }
    match tokens.next()? {
        Token::Argument(value) => Ok(Some(Given { flag, value })),
        _ => Err(format!("expected argument for flag '{written}'")),
    }
}

enum Token {
    Long(String),
    /// `None` for a lone dash.
    Short(Option<char>),
    Argument(String),
    End,
}

struct Tokens {
    /// What is left of the command line, the next argument last.
    args: Vec<String>,
    /// The part after the `=` of the flag just returned.
    peeked: Option<String>,
    flags_ended: bool,
    files_left: usize,
}

impl Tokens {
    fn next(&mut self) -> Result<Token, String> {
        if let Some(value) = self.peeked.take() {
            return Ok(Token::Argument(value));
        }
        while let Some(argument) = self.args.pop() {
            if self.flags_ended {
                return Ok(Token::Argument(argument));
            }
            if argument == "--" {
                self.flags_ended = true;
            } else if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                self.peeked = value;
                return Ok(Token::Long(name.to_owned()));
            } else if let Some(shorts) = argument.strip_prefix('-') {
                let mut rest = shorts.chars();
                let short = rest.next();
                if !rest.as_str().is_empty() {
                    self.args.push(format!("-{}", rest.as_str()));
                }
                return Ok(Token::Short(short));
            } else if let Some(file) = argument.strip_prefix('@') {
                self.files_left =
                    self.files_left.checked_sub(1).ok_or("arguments files name each other without end")?;
                let mut lines = lines_of(file)?;
                lines.reverse();
                self.args.append(&mut lines);
            } else {
                return Ok(Token::Argument(argument));
            }
        }
        Ok(Token::End)
    }
}

/// The arguments in `file`, one a line. Blank lines and lines that begin with `#` hold none.
fn lines_of(file: &str) -> Result<Vec<String>, String> {
    if file.is_empty() {
        return Err("expected @ file to expand arguments from".to_owned());
    }
    let name = quoted(file.as_bytes());
    let opened = File::open(file)
        .map_err(|err| format!("failed to open arguments file {name}: open {file}: {}", cause(&err)))?;
    let mut lines = Vec::new();
    for line in BufReader::new(opened).lines() {
        let line = line
            .map_err(|err| format!("failed to read arguments from {name}: read {file}: {}", cause(&err)))?;
        if !line.is_empty() && !line.starts_with('#') {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The system's text without Rust's error number and capital, which is how Go prints it.
fn cause(err: &std::io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(args: &[&str], expect: &str) {
        let (given, fault) = split(args.iter().map(|arg| (*arg).to_owned()));
        let mut got: Vec<String> =
            given.iter().map(|given| format!("{}={}", given.flag.name, given.value)).collect();
        got.extend(fault.map(|text| format!("error: {text}")));
        assert_eq!(got.join(" "), expect, "{args:?}");
    }

    #[test]
    fn values_and_switches() {
        check(&["--log.level=debug", "--log.level", "info"], "log.level=debug log.level=info");
        check(&["--persistence.file="], "persistence.file=");
        check(&["--web.external-url", "a=b"], "web.external-url=a=b");
        check(
            &["--web.enable-lifecycle", "--no-web.enable-admin-api"],
            "web.enable-lifecycle=true web.enable-admin-api=false",
        );
        check(&["-h", "--"], "help=true");
        check(&["--log.level", "--"], "error: expected argument for flag '--log.level'");
    }

    #[test]
    fn errors_read_as_the_reference_writes_them() {
        check(&["--nope"], "error: unknown long flag '--nope'");
        check(&["-x"], "error: unknown short flag '-x'");
        check(&["-"], "error: unknown short flag '-'");
        check(&["-hx"], "help=true error: unknown short flag '-x'");
        check(&["extra"], "error: unexpected extra");
        check(&["--", "--nope"], "error: unexpected --nope");
        check(&["--web.enable-lifecycle=true"], "web.enable-lifecycle=true error: unexpected true");
        check(&["--persistence.file"], "error: expected argument for flag '--persistence.file'");
        check(
            &["--persistence.interval", "-5s"],
            "error: expected argument for flag '--persistence.interval'",
        );
        check(&["--no-persistence.file"], "error: unknown long flag '--no-persistence.file'");
        check(&["-web.enable-lifecycle"], "error: unknown short flag '-w'");
        check(&["@"], "error: expected @ file to expand arguments from");
        check(
            &["@/nope"],
            "error: failed to open arguments file \"/nope\": open /nope: no such file or directory",
        );
        check(&["@/"], "error: failed to read arguments from \"/\": read /: is a directory");
    }

    #[test]
    fn arguments_out_of_a_file() {
        let path = std::env::temp_dir().join(format!("floodway-arguments-{}", std::process::id()));
        let itself = format!("@{}", path.display());
        let mut file = File::create(&path).unwrap();
        writeln!(file, "--log.level\n\n# a remark\nwarn\n--web.enable-lifecycle").unwrap();
        check(&[&itself, "--log.format=json"], "log.level=warn web.enable-lifecycle=true log.format=json");
        writeln!(file, "{itself}").unwrap();
        let (_, fault) = split([itself]);
        assert_eq!(fault.as_deref(), Some("arguments files name each other without end"));
        std::fs::remove_file(path).unwrap();
    }
}

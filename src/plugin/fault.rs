//! Everything that can go wrong in a plugin, by code.
//!
//! Inside Lua a fault is the string `E_X: text`; outside it is a [`Fault`]. The texts may hold script
//! messages and go to the log and to `plugin check`, never to the pusher.

use std::fmt;

/// The kind of a fault; its [`name`](Code::name) is what scripts and logs see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Runtime,
    Return,
    Phase,
    Stale,
    Field,
    Value,
    Name,
    Type,
    Limit,
    Undeclared,
    Global,
    Budget,
    Memory,
    Internal,
    Load,
    Api,
    Manifest,
    Config,
    Rule,
    Test,
}

impl Code {
    pub const ALL: [Code; 20] = [
        Code::Runtime,
        Code::Return,
        Code::Phase,
        Code::Stale,
        Code::Field,
        Code::Value,
        Code::Name,
        Code::Type,
        Code::Limit,
        Code::Undeclared,
        Code::Global,
        Code::Budget,
        Code::Memory,
        Code::Internal,
        Code::Load,
        Code::Api,
        Code::Manifest,
        Code::Config,
        Code::Rule,
        Code::Test,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::Runtime => "E_RUNTIME",
            Code::Return => "E_RETURN",
            Code::Phase => "E_PHASE",
            Code::Stale => "E_STALE",
            Code::Field => "E_FIELD",
            Code::Value => "E_VALUE",
            Code::Name => "E_NAME",
            Code::Type => "E_TYPE",
            Code::Limit => "E_LIMIT",
            Code::Undeclared => "E_UNDECLARED",
            Code::Global => "E_GLOBAL",
            Code::Budget => "E_BUDGET",
            Code::Memory => "E_MEMORY",
            Code::Internal => "E_INTERNAL",
            Code::Load => "E_LOAD",
            Code::Api => "E_API",
            Code::Manifest => "E_MANIFEST",
            Code::Config => "E_CONFIG",
            Code::Rule => "E_RULE",
            Code::Test => "E_TEST",
        }
    }

    /// The code whose name `text` begins with, followed by a colon.
    fn leading(text: &str) -> Option<Code> {
        let name = text.split_once(": ")?.0;
        Code::ALL.into_iter().find(|code| code.name() == name)
    }
}

/// One fault of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    pub text: String,
}

impl Fault {
    pub fn new(code: Code, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// What a call into Lua ended with. An error value that a script made keeps its own code only if it
    /// has the form of ours, with or without the `file:line: ` that Lua puts in front.
    pub fn from_lua(error: &mlua::Error) -> Fault {
        let mut error = error;
        loop {
            match error {
                mlua::Error::CallbackError { cause, .. } => error = cause,
                mlua::Error::BadArgument { cause, pos, .. } => {
                    let text = format!("argument {pos}: {}", first_line(&cause.to_string()));
                    return Fault::new(Code::Value, text);
                }
                mlua::Error::ExternalError(external) => {
                    return match external.downcast_ref::<Fault>() {
                        Some(fault) => fault.clone(),
                        None => Fault::new(Code::Internal, external.to_string()),
                    };
                }
                mlua::Error::MemoryError(text) => return Fault::new(Code::Memory, first_line(text)),
                mlua::Error::SyntaxError { message, .. } => return Fault::new(Code::Load, message.clone()),
                mlua::Error::FromLuaConversionError { .. } => {
                    return Fault::new(Code::Value, first_line(&error.to_string()));
                }
                mlua::Error::RuntimeError(text) => return Fault::from_message(text),
                other => return Fault::new(Code::Runtime, first_line(&other.to_string())),
            }
        }
    }

    fn from_message(text: &str) -> Fault {
        let line = first_line(text);
        let mut rest = line;
        loop {
            if let Some(code) = Code::leading(rest) {
                return Fault::new(code, rest.split_once(": ").map_or("", |parts| parts.1));
            }
            match rest.split_once(": ") {
                Some((_, after)) => rest = after,
                None => return Fault::new(Code::Runtime, line),
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.text)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for mlua::Error {
    fn from(fault: Fault) -> mlua::Error {
        mlua::Error::external(fault)
    }
}

/// A fault as an error of a host function.
pub fn raise<T>(code: Code, text: impl Into<String>) -> mlua::Result<T> {
    Err(Fault::new(code, text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_through_lua() {
        let cases = [
            ("E_FIELD: no field x", Code::Field, "no field x"),
            ("tenant:12: E_VALUE: bad\nstack traceback:", Code::Value, "bad"),
            ("tenant:12: attempt to index nil: oh", Code::Runtime, "tenant:12: attempt to index nil: oh"),
            ("", Code::Runtime, ""),
        ];
        for (message, code, text) in cases {
            assert_eq!(Fault::from_message(message), Fault::new(code, text));
        }
        let error: mlua::Error = Fault::new(Code::Stale, "gone").into();
        assert_eq!(Fault::from_lua(&error).code, Code::Stale);
    }
}

//! Finds Lua that is not Lua 5.1: what Luau adds to the language, which editors and other Luas do not know.
//!
//! It looks at tokens only and takes for granted that the source compiles.

/// One use of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Counted from 1.
    pub line: usize,
    pub what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    Name(&'s str),
    Text,
    Number,
    Symbol(&'s str),
}

/// Longest first.
const SYMBOLS: [&str; 24] = [
    "...", "..=", "//=", "..", "//", "==", "~=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "^=", "->", "::",
    "+", "-", "*", "/", "<", ">", "=",
];

/// Tokens that an expression follows.
const BEFORE_VALUES: [&str; 20] = [
    "=", "(", ",", "{", "[", "+", "-", "*", "/", "//", "%", "^", "..", "==", "~=", "<", ">", "<=", ">=", "#",
];

/// The extensions that `source` uses, in order.
pub fn find(source: &str) -> Vec<Beyond> {
    let mut found = Vec::new();
    let tokens = tokens(source, &mut found);
    for at in 0..tokens.len() {
        let (token, line) = tokens[at];
        let next = |ahead: usize| tokens.get(at + ahead).map(|token| token.0);
        let before = at.checked_sub(1).map(|at| tokens[at].0);
        let what = match token {
            Token::Symbol("+=" | "-=" | "*=" | "/=" | "//=" | "%=" | "^=" | "..=") => "compound assignment",
            Token::Symbol("//") => "floor division",
            Token::Symbol("->" | "::" | "?" | "|" | "&") => "a type",
            Token::Symbol("@") => "an attribute",
            Token::Symbol(":") if is_annotation(next(1), next(2)) => "a type",
            Token::Name("type")
                if matches!((next(1), next(2)), (Some(Token::Name(_)), Some(Token::Symbol("=" | "<")))) =>
            {
                "a type"
            }
            Token::Name("if") if is_before_value(before) => "if as an expression",
            Token::Name("continue") if is_statement(&tokens, at) => "continue",
            _ => continue,
        };
        found.push(Beyond { line, what });
    }
    found.sort_by_key(|beyond| beyond.line);
    found
}

/// Whether a colon begins a type: it is no method call.
fn is_annotation(name: Option<Token<'_>>, after: Option<Token<'_>>) -> bool {
    let is_call = matches!(after, Some(Token::Symbol("(" | "{") | Token::Text));
    match name {
        Some(Token::Name(_)) => !is_call,
        Some(Token::Symbol("{" | "(")) => true,
        _ => false,
    }
}

fn is_before_value(token: Option<Token<'_>>) -> bool {
    match token {
        Some(Token::Symbol(symbol)) => BEFORE_VALUES.contains(&symbol),
        Some(Token::Name(word)) => matches!(word, "return" | "and" | "or" | "not" | "in"),
        _ => false,
    }
}

/// Whether the word here is a statement of its own.
fn is_statement(tokens: &[(Token<'_>, usize)], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| tokens[at].0);
    let is_part = is_before_value(before)
        || matches!(before, Some(Token::Symbol("." | ":")) | Some(Token::Name("local" | "function")));
    let ends = match tokens.get(at + 1) {
        None | Some((Token::Symbol(";"), _)) => true,
        Some((Token::Name(word), line)) => {
            matches!(*word, "end" | "else" | "elseif" | "until") || *line > tokens[at].1
        }
        Some(_) => false,
    };
    !is_part && ends
}

/// The tokens with their lines. What can be told from one token alone is noted in `found`.
fn tokens<'s>(source: &'s str, found: &mut Vec<Beyond>) -> Vec<(Token<'s>, usize)> {
    let bytes = source.as_bytes();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let start = at;
        let byte = bytes[at];
        let mut note = |what| found.push(Beyond { line, what });
        let token = match byte {
            _ if byte.is_ascii_whitespace() => {
                at += 1;
                None
            }
            b'-' if bytes[at..].starts_with(b"--") => {
                at = match long_bracket(&bytes[at + 2..]) {
                    Some(len) => at + 2 + len,
                    None => {
                        bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |len| at + len)
                    }
                };
                None
            }
            b'[' if long_bracket(&bytes[at..]).is_some() => {
                at += long_bracket(&bytes[at..]).unwrap_or(1);
                Some(Token::Text)
            }
            b'"' | b'\'' | b'`' => {
                if byte == b'`' {
                    note("an interpolated string");
                }
                at += 1;
                while at < bytes.len() && bytes[at] != byte {
                    if bytes[at] == b'\\' {
                        if matches!(bytes.get(at + 1), Some(b'x' | b'z' | b'u')) {
                            note("an escape sequence");
                        }
                        at += 1;
                    }
                    at += 1;
                }
                at = (at + 1).min(bytes.len());
                Some(Token::Text)
            }
            b'0'..=b'9' => {
                let part = |byte: u8, before: u8| {
                    byte.is_ascii_alphanumeric()
                        || matches!(byte, b'_' | b'.')
                        || (matches!(byte, b'+' | b'-') && matches!(before, b'e' | b'E'))
                };
                at += 1;
                while at < bytes.len() && part(bytes[at], bytes[at - 1]) {
                    at += 1;
                }
                let number = &bytes[start..at];
                if number.contains(&b'_') || number.starts_with(b"0b") || number.starts_with(b"0B") {
                    note("a number");
                }
                Some(Token::Number)
            }
            _ if byte.is_ascii_alphabetic() || byte == b'_' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
                Some(Token::Name(&source[start..at]))
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| bytes[at..].starts_with(symbol.as_bytes()));
                at += symbol.map_or(1, |symbol| symbol.len());
                while !source.is_char_boundary(at) {
                    at += 1;
                }
                Some(Token::Symbol(&source[start..at]))
            }
        };
        tokens.extend(token.map(|token| (token, line)));
        line += bytes[start..at].iter().filter(|byte| **byte == b'\n').count();
    }
    tokens
}

/// Length of the long string that begins here, as `[[...]]` or `[=[...]=]`.
fn long_bracket(bytes: &[u8]) -> Option<usize> {
    let level = bytes.get(1..)?.iter().take_while(|byte| **byte == b'=').count();
    if bytes[0] != b'[' || bytes.get(1 + level) != Some(&b'[') {
        return None;
    }
    let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
    let from = level + 2;
    let end = memchr::memmem::find(&bytes[from..], &close).map(|at| from + at + close.len());
    Some(end.unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::bundled;

    #[test]
    fn each_extension_is_found() {
        for (source, what) in [
            ("x += 1", "compound assignment"),
            ("s ..= 'a'", "compound assignment"),
            ("local x = 7 // 2", "floor division"),
            ("local x: number = 1", "a type"),
            ("local function f(a: string) end", "a type"),
            ("function f(): T return 1 end", "a type"),
            ("type T = { a: number }", "a type"),
            ("local x = y :: any", "a type"),
            ("local x = if a then b else c", "if as an expression"),
            ("return if a then b else c", "if as an expression"),
            ("for i = 1, 2 do if x then continue end end", "continue"),
            ("for i = 1, 2 do continue\nlocal x = 1 end", "continue"),
            ("local x = `a {b}`", "an interpolated string"),
            ("local x = 1_000", "a number"),
            ("local x = 0b11", "a number"),
            ("local x = '\\x41'", "an escape sequence"),
            ("@native function f() end", "an attribute"),
        ] {
            assert_eq!(find(source).first().map(|beyond| beyond.what), Some(what), "{source}");
        }
        assert_eq!(find("-- a\nlocal a = [[\n]]\nb += 1"), [Beyond { line: 4, what: "compound assignment" }]);
    }

    #[test]
    fn plain_lua_is_left_alone() {
        for source in [
            "local s = ('x'):rep(3) s:sub(1):upper()",
            "f:g{} f:g'x' f:g[[x]]",
            "local continue = 1 continue = continue + 1 print(continue)",
            "local t = { type = 'x', ['if'] = 1 } t.type = 2 print(t.continue)",
            "if a then b() elseif c then d() end",
            "-- x += 1\n--[[ y //= 2 ]] local z = '+= `' -- `",
            "local n = 1e-5 + 0x1F .. 'a' ~= 2",
            "local s = '\\n\\065\\\\x' local t = [==[ ` ]] ]==]",
            "type(x) local u = type",
            "",
        ] {
            assert_eq!(find(source), [], "{source}");
        }
        for (name, source) in bundled::ALL {
            assert_eq!(find(source), [], "{name}");
        }
    }
}

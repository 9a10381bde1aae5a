//! The request target as Go reads it: percent-decoding of the whole path, cleaning, and the way back
//! into a `Location`.
//!
//! Decoding comes before any splitting, so an encoded slash is a slash. Bytes are kept as they are:
//! whether they are UTF-8 is for whoever uses them to ask.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

/// A request target, taken apart. Everything borrows from the request head, except a path that held
/// percent escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'h> {
    /// Scheme and authority of an absolute-form target: `http` and `host:port`.
    pub origin: Option<(&'h [u8], &'h [u8])>,
    /// The decoded path; empty for `*` and for the authority form of CONNECT.
    pub path: Cow<'h, [u8]>,
    /// What follows the first `?`, as sent.
    pub query: Option<&'h [u8]>,
    /// Whether the target is `*`.
    pub asterisk: bool,
}

/// The target is not one that Go accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

impl<'h> Target<'h> {
    /// Takes `raw` apart. `connect` allows the authority form.
    ///
    /// # Errors
    ///
    /// A control byte, a broken percent escape, or a form that is neither a path, nor a URL with a
    /// scheme and an authority, nor `*`.
    pub fn parse(raw: &'h [u8], connect: bool) -> Result<Target<'h>, BadTarget> {
        if raw.is_empty() || raw.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
            return Err(BadTarget);
        }
        if raw == b"*" {
            return Ok(Target { origin: None, path: Cow::Borrowed(b""), query: None, asterisk: true });
        }
        if raw[0] == b'/' {
            return Target::of_path(None, raw);
        }
        if let Some(colon) = scheme_end(raw)
            && let Some(rest) = raw[colon + 1..].strip_prefix(b"//")
        {
            let authority_end =
                rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(authority_end);
            if !is_host(authority) {
                return Err(BadTarget);
            }
            return Target::of_path(Some((&raw[..colon], authority)), rest);
        }
        if connect && is_host(raw) {
            return Ok(Target { origin: None, path: Cow::Borrowed(b""), query: None, asterisk: false });
        }
        Err(BadTarget)
    }

    fn of_path(origin: Option<(&'h [u8], &'h [u8])>, raw: &'h [u8]) -> Result<Target<'h>, BadTarget> {
        let (path, query) = match memchr(b'?', raw) {
            Some(at) => (&raw[..at], Some(&raw[at + 1..])),
            None => (raw, None),
        };
        Ok(Target { origin, path: decode(path)?, query, asterisk: false })
    }
}

/// Where the scheme's colon stands, if `raw` begins with a scheme (RFC 3986 section 3.1).
fn scheme_end(raw: &[u8]) -> Option<usize> {
    let colon = memchr(b':', raw)?;
    let legal = raw[..colon].iter().enumerate().all(|(at, byte)| {
        byte.is_ascii_alphabetic() || at > 0 && matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.')
    });
    (colon > 0 && legal).then_some(colon)
}

/// Whether `host` holds only bytes that Go lets into a Host header, and is not empty.
pub fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'$'
                        | b'%'
                        | b'&'
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b','
                        | b'-'
                        | b'.'
                        | b':'
                        | b';'
                        | b'='
                        | b'['
                        | b'\''
                        | b']'
                        | b'_'
                        | b'~'
                )
        })
}

fn decode(path: &[u8]) -> Result<Cow<'_, [u8]>, BadTarget> {
    let Some(first) = memchr(b'%', path) else { return Ok(Cow::Borrowed(path)) };
    for at in memchr_iter(b'%', &path[first..]) {
        let digits = path.get(first + at + 1..first + at + 3).ok_or(BadTarget)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadTarget);
        }
    }
    Ok(percent_encoding::percent_decode(path).into())
}

/// The cleaned form of a path: runs of `/` become one, `.` and `..` are resolved, a trailing `/` stays.
/// `None` if the path is clean already.
pub fn cleaned(path: &[u8]) -> Option<Vec<u8>> {
    if is_clean(path) {
        return None;
    }
    let mut clean: Vec<u8> = Vec::with_capacity(path.len() + 1);
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &clean).unwrap_or(0);
                clean.truncate(parent);
            }
            name => {
                clean.push(b'/');
                clean.extend_from_slice(name);
            }
        }
    }
    if clean.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    Some(clean)
}

fn is_clean(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && !memchr_iter(b'/', path).any(|slash| {
            matches!(
                path[slash + 1..],
                [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
            )
        })
}

/// Writes a decoded path into a URL as Go does: letters, digits and `-_.~$&+,/:;=@` stay.
pub fn escape_path(path: &[u8], url: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in path {
        match byte {
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                url.push(byte as char);
            }
            _ if byte.is_ascii_alphanumeric() => url.push(byte as char),
            _ => {
                url.push('%');
                url.push(HEX[usize::from(byte >> 4)] as char);
                url.push(HEX[usize::from(byte & 15)] as char);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<Vec<u8>, BadTarget> {
        Target::parse(raw.as_bytes(), false).map(|target| target.path.into_owned())
    }

    #[test]
    fn paths_are_decoded_once_and_whole() {
        assert_eq!(path("/a%2Fb%20+?x=%zz").unwrap(), b"/a/b +");
        assert_eq!(path("/%2525").unwrap(), b"/%25");
        assert_eq!(path("/a%FF#b").unwrap(), b"/a\xff#b");
        for bad in
            ["/%", "/%2", "/%zz", "/%2%41", "a/b", "", "/a\x7f", "/a\n", "http:x", "://h/", "http:///x"]
        {
            assert_eq!(path(bad), Err(BadTarget), "{bad:?}");
        }
    }

    #[test]
    fn absolute_form_keeps_its_origin() {
        let target = Target::parse(b"http://h:1/a%41?b", false).unwrap();
        assert_eq!(target.origin, Some((&b"http"[..], &b"h:1"[..])));
        assert_eq!((&*target.path, target.query), (&b"/aA"[..], Some(&b"b"[..])));
        let target = Target::parse(b"http://h?b", false).unwrap();
        assert_eq!((&*target.path, target.query), (&b""[..], Some(&b"b"[..])));
    }

    #[test]
    fn authority_form_is_for_connect_only() {
        assert_eq!(Target::parse(b"h:443", false), Err(BadTarget));
        assert!(Target::parse(b"h:443", true).unwrap().path.is_empty());
    }

    #[test]
    fn cleaning_matches_go() {
        for (path, clean) in [
            ("", "/"),
            ("a", "/a"),
            ("//", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/b/..", "/a"),
            ("/a/b/../", "/a/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/a/.", "/a"),
        ] {
            assert_eq!(cleaned(path.as_bytes()).as_deref(), Some(clean.as_bytes()), "{path}");
        }
        for clean in ["/", "/a", "/a/", "/a/...", "/..x/.y", "/a/b../"] {
            assert_eq!(cleaned(clean.as_bytes()), None, "{clean}");
        }
    }

    #[test]
    fn escaping_matches_go() {
        let mut url = String::new();
        escape_path(b"/a b!\xce\xa0%?#$&+,:;=@*'()~", &mut url);
        assert_eq!(url, "/a%20b%21%CE%A0%25%3F%23$&+,:;=@%2A%27%28%29~");
    }
}

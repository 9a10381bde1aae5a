//! The path of a URL as Go's `url.Parse` finds it, for `--web.external-url`.
//!
//! Only the path is used, but all that Go refuses is refused, in Go's words.

use percent_encoding::percent_decode_str;

use crate::format::quote::quoted;

/// The decoded path of `url`. A URL without a scheme, such as `example.org/x`, is all path.
///
/// # Errors
///
/// The text that the reference's flag parser prints for the same input.
pub fn path_of(url: &str) -> Result<String, String> {
    let without_fragment = url.split_once('#').map_or(url, |(before, _)| before);
    find_path(without_fragment)
        .map_err(|cause| format!("invalid URL: parse {}: {cause}", quoted(without_fragment.as_bytes())))
}

fn find_path(url: &str) -> Result<String, String> {
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = split_scheme(url)?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        if scheme {
            // Opaque, as in `mailto:a@b`: there is no path.
            return Ok(String::new());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let path = match rest.strip_prefix("//") {
        Some(after) if scheme || !rest.starts_with("///") => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            check_authority(authority)?;
            path
        }
        _ => rest,
    };
    decode(path)
}

/// Whether there is a scheme, and what follows it.
fn split_scheme(url: &str) -> Result<(bool, &str), String> {
    for (at, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at > 0 => return Ok((true, &url[at + 1..])),
            b':' => return Err("missing protocol scheme".to_owned()),
            _ => break,
        }
    }
    Ok((false, url))
}

fn check_authority(authority: &str) -> Result<(), String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let after_host = match host.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            Some(end) => &inner[end + 1..],
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let port_is_good = after_host.is_empty()
        || after_host.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !port_is_good {
        return Err(format!("invalid port {} after host", quoted(after_host.as_bytes())));
    }
    match host
        .bytes()
        .find(|byte| matches!(byte, b' ' | b'<' | b'>' | b'"' | b'^' | b'`' | b'{' | b'|' | b'}'))
    {
        Some(byte) => {
            Err(format!("invalid character {} in host name", quoted(char::from(byte).to_string().as_bytes())))
        }
        None => Ok(()),
    }
}

fn decode(path: &str) -> Result<String, String> {
    let bytes = path.as_bytes();
    for (at, _) in path.match_indices('%') {
        let escape = &bytes[at..bytes.len().min(at + 3)];
        if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("invalid URL escape {}", quoted(escape)));
        }
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(path) => Ok(path.into_owned()),
        Err(_) => Err("path is not UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expect: &str) {
        let got = path_of(url).unwrap_or_else(|err| format!("error: {err}"));
        assert_eq!(got, expect, "{url}");
    }

    #[test]
    fn finds_the_path() {
        check("", "");
        check("http://ex.org", "");
        check("http://ex.org:1/pre/", "/pre/");
        check("http://ex.org/ext?a=b#c", "/ext");
        check("http://[::1]:80/a", "/a");
        check("http://me:pw@ex.org/a%20b", "/a b");
        check("foo.bar/x", "foo.bar/x");
        check("/just/path", "/just/path");
        check("//ex.org/x", "/x");
        check("///x", "///x");
        check("mailto:a@b", "");
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        check(":::", "error: invalid URL: parse \":::\": missing protocol scheme");
        check("1:2", "error: invalid URL: parse \"1:2\": first path segment in URL cannot contain colon");
        check("http://a:b/", "error: invalid URL: parse \"http://a:b/\": invalid port \":b\" after host");
        check("http://[::1/", "error: invalid URL: parse \"http://[::1/\": missing ']' in host");
        check("/%zz", "error: invalid URL: parse \"/%zz\": invalid URL escape \"%zz\"");
        check("/%2", "error: invalid URL: parse \"/%2\": invalid URL escape \"%2\"");
        check("a\nb", "error: invalid URL: parse \"a\\nb\": net/url: invalid control character in URL");
    }
}

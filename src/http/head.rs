//! The request head: where it ends, what it says, and how a bad one is answered.
//!
//! Stricter than the reference where leniency lets two parsers disagree about where a request ends: bare
//! line feeds, a length beside a transfer coding, and anything but digits in a length are refused. A
//! head that arrives byte by byte is looked at once per byte.

use bytes::Bytes;
use memchr::memchr;

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX};
use crate::model::Limit;

use super::target::{Target, is_host};

/// A head that cannot be served. It has an answer of its own shape, after which the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// What follows the version in the status line.
    pub status: &'static str,
    pub body: &'static str,
    /// The limit that was passed, if that is the fault.
    pub limit: Option<Limit>,
}

impl HeadError {
    const fn new(text: &'static str) -> HeadError {
        HeadError { status: text, body: text, limit: None }
    }

    const fn over(text: &'static str, limit: Limit) -> HeadError {
        HeadError { status: text, body: text, limit: Some(limit) }
    }

    /// The status code.
    pub fn code(&self) -> u16 {
        let digits = self.status.split(' ').next().and_then(|digits| digits.parse().ok());
        digits.unwrap_or(400)
    }

    pub const BAD_REQUEST: HeadError = HeadError::new("400 Bad Request");
    pub const NO_HOST: HeadError = HeadError::new("400 Bad Request: missing required Host header");
    pub const BAD_HOST: HeadError = HeadError::new("400 Bad Request: malformed Host header");
    pub const BAD_NAME: HeadError = HeadError::new("400 Bad Request: invalid header name");
    pub const CONFLICTING_FRAMING: HeadError = HeadError::new("400 Bad Request: conflicting framing");
    pub const TIMED_OUT: HeadError = HeadError::over("408 Request Timeout", Limit::HeadDeadline);
    pub const LINE_TOO_LONG: HeadError = HeadError {
        status: "414 Request URI Too Long",
        body: "414 Request URI Too Long: the request line is longer than 16384 bytes",
        limit: None,
    };
    pub const TOO_LARGE: HeadError = HeadError::over("431 Request Header Fields Too Large", Limit::HeadBytes);
    pub const TOO_MANY_LINES: HeadError = HeadError {
        status: "431 Request Header Fields Too Large",
        body: "431 Request Header Fields Too Large: more than 128 header lines",
        limit: None,
    };
    pub const VERSION: HeadError =
        HeadError::new("505 HTTP Version Not Supported: unsupported protocol version");
    pub const TRANSFER_CODING: HeadError =
        HeadError { status: "501 Not Implemented", body: "Unsupported transfer encoding", limit: None };
}

// The texts above say so.
const _: () = assert!(REQUEST_LINE_BYTES_MAX == 16_384 && HEADERS_MAX == 128);

/// How far a head that is still arriving was looked at.
#[derive(Clone, Copy, Debug)]
pub struct HeadScan {
    /// Longest head.
    max: usize,
    looked_at: usize,
    line_start: usize,
}

impl Default for HeadScan {
    fn default() -> HeadScan {
        HeadScan::new(HEAD_BYTES_MAX)
    }
}

impl HeadScan {
    /// For heads of at most `max` bytes.
    pub fn new(max: usize) -> HeadScan {
        HeadScan { max, looked_at: 0, line_start: 0 }
    }

    /// Looks at what is new in `input`, which begins where the head does. Returns the head's length once
    /// it is whole.
    ///
    /// # Errors
    ///
    /// As soon as what is there can no longer become a head we take.
    pub fn advance(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        if input.first().is_some_and(|byte| !byte.is_ascii_graphic()) {
            return Err(HeadError::BAD_REQUEST);
        }
        while let Some(at) = memchr(b'\n', &input[self.looked_at..]) {
            let feed = self.looked_at + at;
            if feed == 0 || input[feed - 1] != b'\r' {
                return Err(HeadError::BAD_REQUEST);
            }
            if self.line_start == 0 && feed > REQUEST_LINE_BYTES_MAX {
                return Err(HeadError::LINE_TOO_LONG);
            }
            if feed >= self.max {
                return Err(HeadError::TOO_LARGE);
            }
            let ended = feed == self.line_start + 1;
            self.looked_at = feed + 1;
            self.line_start = feed + 1;
            if ended {
                return Ok(Some(feed + 1));
            }
        }
        self.looked_at = input.len();
        if self.line_start == 0 && input.len() > REQUEST_LINE_BYTES_MAX {
            Err(HeadError::LINE_TOO_LONG)
        } else if input.len() > self.max {
            Err(HeadError::TOO_LARGE)
        } else {
            Ok(None)
        }
    }
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    Known(u64),
    Chunked,
}

/// What the connection needs to know of a head once the head itself is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// HTTP/1.0, not 1.1 or later.
    pub http10: bool,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// Whether the answer's body is left out.
    pub is_head: bool,
    pub body: BodyLength,
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Nothing,
    Continue,
    Unknown,
}

/// A parsed head; borrows from its bytes.
#[derive(Debug)]
pub struct Head<'h> {
    pub method: &'h [u8],
    pub target: Target<'h>,
    /// The target as it was sent.
    pub raw_target: &'h [u8],
    /// First values, as the reference takes them.
    pub content_type: Option<&'h [u8]>,
    pub content_encoding: Option<&'h [u8]>,
    pub framing: Framing,
    /// Whether a header says how a push is to be taken; see [`options`](super::options).
    pub has_push_options: bool,
    /// The size of the request as the reference counts it, its body left out: target, method, version,
    /// and every header's name and value (of `Host` the value only).
    pub size_bytes: u64,
    headers: &'h [httparse::Header<'h>],
    bytes: &'h Bytes,
}

impl<'h> Head<'h> {
    /// Parses the head that is exactly `bytes` and hands it to `with`.
    ///
    /// # Errors
    ///
    /// The head breaks RFC 9112, or asks for something nobody should be given.
    pub fn parse<T>(bytes: &Bytes, with: impl FnOnce(&Head<'_>) -> T) -> Result<T, HeadError> {
        let line_end = memchr(b'\r', bytes).ok_or(HeadError::BAD_REQUEST)?;
        if bytes.get(line_end + 1) != Some(&b'\n') {
            return Err(HeadError::BAD_REQUEST);
        }
        let lines = bytes.get(line_end + 2..).ok_or(HeadError::BAD_REQUEST)?;
        // Nearly every head fits the small array, which is much cheaper to set up.
        let mut few = [httparse::EMPTY_HEADER; 24];
        match httparse::parse_headers(lines, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                let mut many = [httparse::EMPTY_HEADER; HEADERS_MAX];
                let headers = parsed(httparse::parse_headers(lines, &mut many))?;
                Ok(with(&Head::of(bytes, line_end, headers)?))
            }
            few => Ok(with(&Head::of(bytes, line_end, parsed(few)?)?)),
        }
    }

    /// Every header, in order: its name as sent, and its value.
    pub fn headers(&self) -> impl Iterator<Item = (&'h str, &'h [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// Every value of the header `name`, in order.
    pub fn values(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// A value of this head that outlives it, without copying.
    pub fn share(&self, value: &'h [u8]) -> Bytes {
        self.bytes.slice_ref(value)
    }

    fn of(
        bytes: &'h Bytes,
        line_end: usize,
        headers: &'h [httparse::Header<'h>],
    ) -> Result<Head<'h>, HeadError> {
        let line = &bytes[..line_end];
        let method_end = memchr(b' ', line).ok_or(HeadError::BAD_REQUEST)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        let target_end = memchr(b' ', rest).ok_or(HeadError::BAD_REQUEST)?;
        let (raw_target, version) = (&rest[..target_end], &rest[target_end + 1..]);
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(HeadError::BAD_REQUEST);
        }
        let http10 = match version {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => *minor == b'0',
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(HeadError::VERSION);
            }
            _ => return Err(HeadError::BAD_REQUEST),
        };
        let target = Target::parse(raw_target, method == b"CONNECT").map_err(|_| HeadError::BAD_REQUEST)?;
        let mut head = Head {
            method,
            target,
            raw_target,
            content_type: None,
            content_encoding: None,
            framing: Framing {
                http10,
                keep_alive: !http10,
                is_head: method == b"HEAD",
                body: BodyLength::Known(0),
                expect: Expect::Nothing,
            },
            has_push_options: false,
            size_bytes: (raw_target.len() + method.len() + version.len()) as u64,
            headers,
            bytes,
        };
        head.read_headers()?;
        Ok(head)
    }

    fn read_headers(&mut self) -> Result<(), HeadError> {
        let mut host = None;
        let mut length = None;
        let mut chunked = false;
        let (mut wants_close, mut wants_keep_alive) = (false, false);
        for header in self.headers {
            let (name, value) = (header.name, header.value);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            self.size_bytes += (name.len() + value.len()) as u64;
            match name.len() {
                4 if is("host") => {
                    self.size_bytes -= name.len() as u64;
                    if host.replace(value).is_some() {
                        return Err(HeadError::BAD_REQUEST);
                    }
                }
                6 if is("expect") && !value.is_empty() => {
                    self.framing.expect = if value.eq_ignore_ascii_case(b"100-continue") {
                        Expect::Continue
                    } else {
                        Expect::Unknown
                    };
                }
                7 if is("push-id") => self.has_push_options = true,
                10 if is("connection") => {
                    for token in value.split(|byte| *byte == b',') {
                        let token = token.trim_ascii();
                        wants_close |= token.eq_ignore_ascii_case(b"close");
                        wants_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                10 if is("push-merge") => self.has_push_options = true,
                12 if is("content-type") => {
                    self.content_type.get_or_insert(value);
                }
                13 if is("push-lifetime") => self.has_push_options = true,
                14 if is("content-length") => {
                    let this = content_length(value).ok_or(HeadError::BAD_REQUEST)?;
                    if length.replace(this).is_some_and(|other| other != this) {
                        return Err(HeadError::BAD_REQUEST);
                    }
                }
                15 if is("idempotency-key") => self.has_push_options = true,
                16 if is("content-encoding") => {
                    self.content_encoding.get_or_insert(value);
                }
                17 if is("transfer-encoding") => {
                    if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(HeadError::TRANSFER_CODING);
                    }
                    chunked = true;
                }
                _ => {}
            }
        }
        let framing = &mut self.framing;
        framing.keep_alive = !wants_close && (!framing.http10 || wants_keep_alive);
        framing.body = match (length, chunked) {
            (Some(_), true) => return Err(HeadError::CONFLICTING_FRAMING),
            (None, true) if framing.http10 => return Err(HeadError::CONFLICTING_FRAMING),
            (None, true) => BodyLength::Chunked,
            (length, false) => BodyLength::Known(length.unwrap_or(0)),
        };
        match host {
            None if !framing.http10 && self.method != b"CONNECT" => Err(HeadError::NO_HOST),
            Some(b"") if framing.http10 => Ok(()),
            Some(host) if !is_host(host) => Err(HeadError::BAD_HOST),
            _ => Ok(()),
        }
    }
}

fn parsed<'b, 'h>(
    headers: httparse::Result<(usize, &'h [httparse::Header<'b>])>,
) -> Result<&'h [httparse::Header<'b>], HeadError> {
    match headers {
        Ok(httparse::Status::Complete((_, headers))) => Ok(headers),
        Ok(httparse::Status::Partial) => Err(HeadError::BAD_REQUEST),
        Err(httparse::Error::HeaderName) => Err(HeadError::BAD_NAME),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TOO_MANY_LINES),
        Err(_) => Err(HeadError::BAD_REQUEST),
    }
}

/// Digits only: no sign, no blank, no list.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value
        .iter()
        .try_fold(0, |sum: u64, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// The `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(lines: &str) -> Result<Framing, HeadError> {
        let text = lines.replace('\n', "\r\n") + "\r\n\r\n";
        let end = HeadScan::default().advance(text.as_bytes())?.expect("a whole head");
        assert_eq!(end, text.len());
        Head::parse(&text.into(), |head| head.framing)
    }

    #[test]
    fn a_head_in_any_pieces_is_found_at_the_same_place() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest\r\n\r\n";
        let whole = HeadScan::default().advance(text).unwrap();
        assert_eq!(whole, Some(27));
        let mut scan = HeadScan::default();
        for length in 0..27 {
            assert_eq!(scan.advance(&text[..length]), Ok(None), "{length}");
        }
        assert_eq!(scan.advance(text), Ok(Some(27)));
    }

    #[test]
    fn limits_hold_before_the_end_is_seen() {
        let long = vec![b'a'; REQUEST_LINE_BYTES_MAX + 1];
        assert_eq!(HeadScan::default().advance(&long), Err(HeadError::LINE_TOO_LONG));
        let mut many = b"GET / HTTP/1.1\r\n".to_vec();
        many.extend(vec![b'a'; HEAD_BYTES_MAX]);
        assert_eq!(HeadScan::default().advance(&many), Err(HeadError::TOO_LARGE));
        many.extend(b"\r\n\r\n");
        assert_eq!(HeadScan::default().advance(&many), Err(HeadError::TOO_LARGE));
        let headers = "\nA: b".repeat(HEADERS_MAX + 1);
        assert_eq!(framing(&format!("GET / HTTP/1.1{headers}")), Err(HeadError::TOO_MANY_LINES));
        let headers = "\nA: b".repeat(HEADERS_MAX - 1);
        assert!(framing(&format!("GET / HTTP/1.1\nHost: x{headers}")).is_ok());
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_at_once() {
        for bad in [&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\nHost: x\n\n", b"\n", b" GET", b"\r"] {
            assert_eq!(HeadScan::default().advance(bad), Err(HeadError::BAD_REQUEST), "{bad:?}");
        }
    }

    #[test]
    fn bodies_have_one_clear_end() {
        let known = |length| Ok(BodyLength::Known(length));
        for (headers, expected) in [
            ("", known(0)),
            ("\nContent-Length:  \t12 ", known(12)),
            ("\nContent-Length: 3\ncontent-length: 3", known(3)),
            ("\nTransfer-Encoding: Chunked", Ok(BodyLength::Chunked)),
            ("\nTransfer-Encoding: chunked\nContent-Length: 3", Err(HeadError::CONFLICTING_FRAMING)),
            ("\nContent-Length: 3\nContent-Length: 4", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: 3, 3", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: +3", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: -1", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: 0x1", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: 1_0", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length:", Err(HeadError::BAD_REQUEST)),
            ("\nContent-Length: 99999999999999999999", Err(HeadError::BAD_REQUEST)),
            ("\nTransfer-Encoding: gzip", Err(HeadError::TRANSFER_CODING)),
            ("\nTransfer-Encoding: gzip, chunked", Err(HeadError::TRANSFER_CODING)),
            ("\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked", Err(HeadError::TRANSFER_CODING)),
            ("\nTransfer-Encoding:", Err(HeadError::TRANSFER_CODING)),
        ] {
            let got = framing(&format!("PUT / HTTP/1.1\nHost: x{headers}")).map(|framing| framing.body);
            assert_eq!(got, expected, "{headers}");
        }
        assert_eq!(
            framing("PUT / HTTP/1.0\nTransfer-Encoding: chunked"),
            Err(HeadError::CONFLICTING_FRAMING)
        );
    }

    #[test]
    fn bad_lines_and_hosts() {
        for (head, expected) in [
            ("GET / x HTTP/1.1\nHost: x", HeadError::BAD_REQUEST),
            ("GET", HeadError::BAD_REQUEST),
            ("GET /", HeadError::BAD_REQUEST),
            ("G(T / HTTP/1.1\nHost: x", HeadError::BAD_REQUEST),
            ("GET / HTTP/1\nHost: x", HeadError::BAD_REQUEST),
            ("GET / http/1.1\nHost: x", HeadError::BAD_REQUEST),
            ("GET / HTTP/2.0\nHost: x", HeadError::VERSION),
            ("PRI * HTTP/2.0", HeadError::VERSION),
            ("GET / HTTP/0.9\nHost: x", HeadError::VERSION),
            ("GET /%zz HTTP/1.1\nHost: x", HeadError::BAD_REQUEST),
            ("GET / HTTP/1.1", HeadError::NO_HOST),
            ("GET / HTTP/1.1\nHost:", HeadError::BAD_HOST),
            ("GET / HTTP/1.1\nHost: a b", HeadError::BAD_HOST),
            ("GET / HTTP/1.1\nHost: a/b", HeadError::BAD_HOST),
            ("GET / HTTP/1.1\nHost: x\nHost: x", HeadError::BAD_REQUEST),
            ("GET / HTTP/1.1\nHost: x\nBad Name: y", HeadError::BAD_NAME),
            ("GET / HTTP/1.1\nHost: x\nno colon", HeadError::BAD_NAME),
            ("GET / HTTP/1.1\nHost: x\n : y", HeadError::BAD_NAME),
            ("GET / HTTP/1.1\nHost: x\nA : y", HeadError::BAD_NAME),
            ("GET / HTTP/1.1\nHost: x\nA: y\n folded", HeadError::BAD_NAME),
            ("GET / HTTP/1.1\nHost: x\nA: \x01", HeadError::BAD_REQUEST),
            ("GET / HTTP/1.1\nHost: x\nA: \0", HeadError::BAD_REQUEST),
            ("GET / HTTP/1.1\r?Host: x", HeadError::BAD_REQUEST),
            ("GET / HTTP/1.1\nHost: x\r?A: y", HeadError::BAD_REQUEST),
        ] {
            assert_eq!(framing(head), Err(expected), "{head:?}");
        }
        assert!(framing("GET / HTTP/1.0").is_ok());
        assert!(framing("GET /\u{3a0} HTTP/1.2\nHost: [::1]:80").is_ok());
    }

    #[test]
    fn connection_and_expectation() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\nHost: x", true),
            ("GET / HTTP/1.1\nHost: x\nConnection: close", false),
            ("GET / HTTP/1.1\nHost: x\nConnection: Upgrade , CLOSE", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive", true),
        ] {
            assert_eq!(framing(head).unwrap().keep_alive, keep_alive, "{head}");
        }
        for (value, expect) in
            [("100-Continue", Expect::Continue), ("something", Expect::Unknown), ("", Expect::Nothing)]
        {
            let head = format!("PUT / HTTP/1.1\nHost: x\nExpect: {value}");
            assert_eq!(framing(&head).unwrap().expect, expect);
        }
    }

    #[test]
    fn size_is_counted_as_the_reference_does() {
        let text = Bytes::from_static(b"PUT /metrics/job/x HTTP/1.1\r\nHost: localhost\r\nA: bc\r\n\r\n");
        let size = Head::parse(&text, |head| head.size_bytes).unwrap();
        assert_eq!(size as usize, "/metrics/job/x".len() + 3 + "HTTP/1.1".len() + "localhost".len() + 3);
    }
}

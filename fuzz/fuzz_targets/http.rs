//! Any bytes as a request: the head and the body that we read are those of a plain reader of RFC 9112, in
//! whatever pieces they come. The first byte says how large the pieces are.

#![no_main]

use bytes::Bytes;
use floodway::http::chunked::ChunkDecoder;
use floodway::http::head::{BodyLength, Head, HeadError, HeadScan};
use floodway::http::target::{Target, is_host};
use floodway::limits::HEADERS_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&size, request)) = input.split_first() else { return };
    let piece = usize::from(size % 16) + 1;
    let (head, rest) = match scan(request, piece) {
        Ok(Some(length)) => request.split_at(length),
        // Longer inputs would be needed for the limits.
        other => {
            assert!(plain_end(request).is_none(), "{other:?}");
            return;
        }
    };
    assert_eq!(plain_end(request), Some(head.len()));
    let ours = Head::parse(&Bytes::copy_from_slice(head), |head| head.framing.body);
    assert_eq!(ours.ok(), plain_head(head));
    let Ok(BodyLength::Chunked) = ours else { return };
    let ours = chunks(rest, piece);
    assert_eq!(ours, chunks(rest, usize::MAX));
    match plain_chunks(rest) {
        Plain::Whole(body, taken) => assert_eq!(ours, Ok(Some((body, taken)))),
        Plain::Bad => assert!(ours.is_err()),
        // We may know already that it is bad.
        Plain::More => assert!(!matches!(ours, Ok(Some(_)))),
    }
});

/// Where the head ends, looked at piece by piece.
fn scan(request: &[u8], piece: usize) -> Result<Option<usize>, HeadError> {
    let mut scan = HeadScan::default();
    let mut length = 0;
    while length < request.len() {
        length = (length + piece).min(request.len());
        if let Some(end) = scan.advance(&request[..length])? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// The same, of all at once: an empty line ends it, every line feed follows a carriage return, and the first
/// byte is one that can be seen.
fn plain_end(request: &[u8]) -> Option<usize> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = &request[..end];
    let bare = (0..end).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    (!bare && head[0].is_ascii_graphic()).then_some(end)
}

fn is_token(text: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(legal)
}

fn is_text(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// How the body's end is known, by a reader that goes through the head rule by rule.
fn plain_head(head: &[u8]) -> Option<BodyLength> {
    let text = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    let (request_line, headers) = lines.split_first()?;
    let parts: Vec<&[u8]> = request_line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let is_connect = method == b"CONNECT";
    if !is_token(method) || Target::parse(target, is_connect).is_err() {
        return None;
    }
    let minor = match version.strip_prefix(b"HTTP/1.")? {
        [minor] if minor.is_ascii_digit() => *minor,
        _ => return None,
    };
    if headers.len() > HEADERS_MAX {
        return None;
    }
    let (mut hosts, mut lengths, mut codings) = (Vec::new(), Vec::new(), Vec::new());
    for line in headers {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) || !is_text(value) {
            return None;
        }
        let value = value.trim_ascii();
        match &*name.to_ascii_lowercase() {
            b"host" => hosts.push(value),
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            _ => {}
        }
    }
    let host_fits = match hosts[..] {
        [] => minor == b'0' || is_connect,
        [host] => is_host(host) || host.is_empty() && minor == b'0',
        _ => false,
    };
    if !host_fits {
        return None;
    }
    let mut length = None;
    for text in lengths {
        if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let this: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        if length.replace(this).is_some_and(|other| other != this) {
            return None;
        }
    }
    match (codings[..].iter().map(|value| value.to_ascii_lowercase()).collect::<Vec<_>>().as_slice(), length)
    {
        ([], length) => Some(BodyLength::Known(length.unwrap_or(0))),
        ([coding], None) if coding == b"chunked" && minor != b'0' => Some(BodyLength::Chunked),
        _ => None,
    }
}

/// The data and how many bytes were taken; nothing if more must come.
type Chunks = Result<Option<(Vec<u8>, usize)>, &'static str>;

fn chunks(mut input: &[u8], piece: usize) -> Chunks {
    let (mut decoder, mut body, mut taken) = (ChunkDecoder::default(), Vec::new(), 0);
    while !input.is_empty() && !decoder.is_done() {
        let now = &input[..piece.min(input.len())];
        let took = decoder.decode(now, |data| body.extend_from_slice(data)).map_err(|bad| bad.0)?;
        taken += took;
        input = &input[took..];
    }
    Ok(decoder.is_done().then_some((body, taken)))
}

enum Plain {
    Whole(Vec<u8>, usize),
    More,
    Bad,
}

/// The chunked coding of RFC 9112 section 7.1, line by line.
fn plain_chunks(input: &[u8]) -> Plain {
    let mut at = 0;
    let mut body = Vec::new();
    let line = |at: usize| -> Result<(&[u8], usize), Plain> {
        let Some(feed) = input[at..].iter().position(|byte| *byte == b'\n') else { return Err(Plain::More) };
        match input[at..at + feed].strip_suffix(b"\r") {
            Some(line) if is_text(line) => Ok((line, at + feed + 1)),
            _ => Err(Plain::Bad),
        }
    };
    loop {
        let (size_line, next) = match line(at) {
            Ok(found) => found,
            Err(plain) => return plain,
        };
        let digits = size_line.split(|byte| *byte == b';').next().unwrap_or_default();
        if !(1..=16).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Plain::Bad;
        }
        let size =
            u64::from_str_radix(std::str::from_utf8(digits).unwrap_or_default(), 16).unwrap_or(u64::MAX);
        at = next;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if input.len() - at < size {
            return Plain::More;
        }
        body.extend_from_slice(&input[at..at + size]);
        at += size;
        match &input[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Plain::More,
            _ => return Plain::Bad,
        }
    }
    loop {
        match line(at) {
            Ok(([], next)) => return Plain::Whole(body, next),
            Ok((_, next)) => at = next,
            Err(plain) => return plain,
        }
    }
}

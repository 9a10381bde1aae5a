//! Answers out of the bytes that a connection brings.
//!
//! Bodies of pushes' answers are counted and thrown away; those of scrapes are kept, or counted alone.

/// Headers of an answer at most.
const HEADERS_MAX: usize = 64;

/// A head at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Reads one answer after another.
#[derive(Default)]
pub struct Reader {
    state: State,
    /// What of a head or of a chunk's length is there so far.
    part: Vec<u8>,
    /// The body, if it is to be kept.
    kept: Option<Vec<u8>>,
    body_bytes: u64,
    status: u16,
    closes: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Body(u64),
    ChunkLength,
    Chunk(u64),
    /// The line end after a chunk, or the lines after the last one.
    ChunkEnd,
    Trailers,
    /// The body ends with the connection.
    UntilClose,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Whether the server closes the connection after it.
    pub closes: bool,
    pub body_bytes: u64,
    /// If it was kept.
    pub body: Vec<u8>,
}

impl Reader {
    /// A reader that keeps bodies.
    pub fn keeping() -> Reader {
        Reader { kept: Some(Vec::new()), ..Reader::default() }
    }

    /// Takes bytes up to the end of an answer: how many those were, and the answer if it is whole.
    ///
    /// # Errors
    ///
    /// They are no HTTP answer.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Answer>), String> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.state {
                State::Head => {
                    let Some(taken) = self.take_head(rest)? else { return Ok((bytes.len(), None)) };
                    at += taken;
                    if let State::Body(0) = self.state {
                        return Ok((at, Some(self.finish())));
                    }
                }
                State::Body(left) | State::Chunk(left) => {
                    let taken = left.min(rest.len() as u64);
                    self.take_body(&rest[..taken as usize]);
                    at += taken as usize;
                    let in_chunk = matches!(self.state, State::Chunk(_));
                    if taken < left {
                        self.state =
                            if in_chunk { State::Chunk(left - taken) } else { State::Body(left - taken) };
                        return Ok((at, None));
                    }
                    if !in_chunk {
                        return Ok((at, Some(self.finish())));
                    }
                    self.state = State::ChunkEnd;
                }
                State::ChunkLength | State::ChunkEnd | State::Trailers => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        self.part.extend_from_slice(rest);
                        return Ok((bytes.len(), None));
                    };
                    self.part.extend_from_slice(&rest[..end]);
                    at += end + 1;
                    let line = std::mem::take(&mut self.part);
                    if self.end_line(line.trim_ascii())? {
                        return Ok((at, Some(self.finish())));
                    }
                }
                State::UntilClose => {
                    self.take_body(rest);
                    return Ok((bytes.len(), None));
                }
            }
        }
    }

    /// The connection ended; the answer that ended with it, if it may.
    pub fn end(&mut self) -> Option<Answer> {
        matches!(self.state, State::UntilClose).then(|| self.finish())
    }

    /// How many of `bytes` the head ends with, once it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        if self.part.is_empty() {
            // Nearly always a head comes whole.
            if let Some(end) = self.parse_head(bytes)? {
                return Ok(Some(end));
            }
            self.part.extend_from_slice(bytes);
            return Ok(None);
        }
        let before = self.part.len();
        let mut part = std::mem::take(&mut self.part);
        part.extend_from_slice(bytes);
        let end = self.parse_head(&part)?;
        if end.is_none() {
            self.part = part;
        }
        if self.part.len() > HEAD_BYTES_MAX {
            return Err("a head without end".to_owned());
        }
        Ok(end.map(|end| end - before))
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes);
        let httparse::Status::Complete(end) = parsed.map_err(|error| format!("no HTTP answer: {error}"))?
        else {
            return Ok(None);
        };
        self.status = response.code.unwrap_or_default();
        self.closes = response.version == Some(0);
        self.body_bytes = 0;
        self.state = if matches!(self.status, 204 | 304) { State::Body(0) } else { State::UntilClose };
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.state = State::Body(length.ok_or("a length that is no number")?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                self.state = State::ChunkLength;
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case(b"close");
            }
        }
        self.closes |= matches!(self.state, State::UntilClose);
        Ok(Some(end))
    }

    /// Goes on after a line of the chunked framing; true at its end.
    fn end_line(&mut self, line: &[u8]) -> Result<bool, String> {
        self.state = match self.state {
            State::ChunkLength => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                match u64::from_str_radix(digits, 16).map_err(|_| "a chunk without length".to_owned())? {
                    0 => State::Trailers,
                    length => State::Chunk(length),
                }
            }
            State::Trailers if line.is_empty() => return Ok(true),
            State::Trailers => State::Trailers,
            _ => State::ChunkLength,
        };
        Ok(false)
    }

    fn take_body(&mut self, bytes: &[u8]) {
        self.body_bytes += bytes.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) -> Answer {
        self.state = State::Head;
        let body = self.kept.as_mut().map(std::mem::take).unwrap_or_default();
        Answer { status: self.status, closes: self.closes, body_bytes: self.body_bytes, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
        HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.0 200 OK\r\n\r\nrest";

    #[test]
    fn answers_come_whole_however_they_are_cut() {
        for step in 1..ANSWERS.len() {
            let mut reader = Reader::keeping();
            let mut answers = Vec::new();
            for piece in ANSWERS.chunks(step) {
                let mut at = 0;
                while at < piece.len() {
                    let (taken, answer) = reader.take(&piece[at..]).unwrap();
                    at += taken;
                    answers.extend(answer);
                }
            }
            answers.extend(reader.end());
            let seen: Vec<_> =
                answers.iter().map(|answer| (answer.status, answer.closes, &answer.body[..])).collect();
            let expected: [(u16, bool, &[u8]); 5] = [
                (200, false, b"abc"),
                (202, true, b""),
                (200, false, b"abc"),
                (204, false, b""),
                (200, true, b"rest"),
            ];
            assert_eq!(seen, expected, "pieces of {step}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_fault() {
        assert!(Reader::default().take(b"SSH-2.0\r\n\r\n").is_err());
        assert!(Reader::default().take(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert!(Reader::default().take(chunked).is_err());
    }
}

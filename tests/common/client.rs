//! An HTTP/1.1 client that writes exactly what it is told and keeps everything it reads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// A request with a `Host` and, if it has a body or its method pushes, a `Content-Length`.
pub fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: gateway\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One connection to the server.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Connection { stream: BufReader::new(stream) }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Writes as far as the server takes it: it may answer and close before it has read everything.
    pub fn write_if_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// A request and its answer on this connection.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.write(&request_bytes(method, target, headers, body));
        self.answer_to(method)
    }

    /// Nothing more will be sent.
    pub fn end(&mut self) {
        // The server may have closed already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// Everything until the server closes. A reset counts as a close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// The next answer; `method` is the one it answers, since answers to HEAD have no body.
    #[track_caller]
    pub fn answer_to(&mut self, method: &str) -> Answer {
        let line = self.line();
        let mut parts = line.splitn(3, ' ');
        let version = parts.next().unwrap().to_owned();
        let status: u16 = parts.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            panic!("no status line: {line:?}");
        });
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer { version, status, headers, body: Vec::new() };
        if method != "HEAD" && status >= 200 && status != 204 && status != 304 {
            answer.body = self.body(&answer);
        }
        answer
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let mut body = Vec::new();
        if answer.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let line = self.line();
                let length = usize::from_str_radix(&line, 16).unwrap();
                let from = body.len();
                body.resize(from + length, 0);
                self.stream.read_exact(&mut body[from..]).unwrap();
                assert_eq!(self.line(), "");
                if length == 0 {
                    return body;
                }
            }
        } else if let Some(length) = answer.header("Content-Length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).unwrap();
        } else {
            self.stream.read_to_end(&mut body).unwrap();
        }
        body
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        match line.strip_suffix("\r\n") {
            Some(line) => line.to_owned(),
            None => panic!("the connection ended in the middle of an answer: {line:?}"),
        }
    }
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The text without its content coding.
    #[track_caller]
    pub fn unpacked(&self) -> String {
        match self.header("Content-Encoding") {
            None => self.text().to_owned(),
            Some("gzip") => {
                let mut text = String::new();
                let mut member = flate2::bufread::GzDecoder::new(&self.body[..]);
                member.read_to_string(&mut text).unwrap();
                assert!(member.into_inner().is_empty(), "one member and nothing behind it");
                text
            }
            Some(other) => panic!("{other} was not asked for"),
        }
    }

    /// An answer without a body and without a type.
    #[track_caller]
    pub fn is_empty_with(&self, status: u16) {
        assert_eq!((self.status, self.text()), (status, ""));
        assert_eq!(self.header("Content-Length"), Some("0"));
        assert_eq!(self.header("Content-Type"), None);
        assert!(self.header("Date").is_some());
    }

    /// An error in the shape that all handlers share; `text` is without the final line feed.
    #[track_caller]
    pub fn is_error(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text()), (status, format!("{text}\n").as_str()));
        self.has_error_shape();
    }

    #[track_caller]
    pub fn has_error_shape(&self) {
        assert_eq!(self.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(self.header("Content-Length"), Some(self.body.len().to_string().as_str()));
        assert!(self.header("Date").is_some() && self.header("Server").is_none());
        assert!(self.body.ends_with(b"\n"));
    }
}

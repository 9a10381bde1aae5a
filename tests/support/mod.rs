//! A server in this process with a stand-in service, and clients for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floodway::http::client::Client;
use floodway::http::config::HttpConfig;
use floodway::http::handler::Quit;
use floodway::http::head::Head;
use floodway::http::service::{BodyFault, Finish, Next, Service};
use floodway::http::{Answer, Body};
use floodway::server::{Listen, Server};

/// Which server to start.
pub struct Echo {
    pub http: HttpConfig,
    pub workers: usize,
}

impl Default for Echo {
    fn default() -> Echo {
        Echo { http: HttpConfig::default(), workers: 2 }
    }
}

/// Deadlines that pass within a test.
pub fn short_deadlines() -> HttpConfig {
    let short = Duration::from_millis(300);
    HttpConfig {
        head_deadline: short,
        body_deadline: short,
        write_deadline: short,
        idle_deadline: short,
        linger_deadline: short,
        ..HttpConfig::default()
    }
}

/// Echoes; some paths do something else.
struct EchoService {
    quit: Quit,
}

impl Service for EchoService {
    type Waiting = String;
    type Question = ();

    async fn ask(&self, _question: ()) -> Result<Client, Answer> {
        unreachable!("nobody is asked about")
    }

    fn begin(&self, head: &Head<'_>, _client: &Client) -> Next<String> {
        let what = format!(
            "{} {} ",
            String::from_utf8_lossy(head.method),
            String::from_utf8_lossy(&head.target.path)
        );
        match &*head.target.path {
            b"/refuse" => Next::Answer(Answer::error(400, "no")),
            b"/panic" => panic!("asked for by the test"),
            _ if head.method == b"GET" => Next::Bodiless(what),
            _ => Next::Body(what),
        }
    }

    fn finish(&self, waiting: String, body: Bytes) -> Finish<'_> {
        if waiting.contains("/slices") {
            let slices: Vec<Bytes> =
                (0..3000).map(|number| Bytes::from(vec![b'a' + (number % 26) as u8; 5000])).collect();
            return Finish::Now(Answer::with_slices(200, "text/plain", slices));
        }
        if waiting.contains("/quit") {
            (self.quit)();
            return Finish::Now(Answer::text(200, "bye").closing());
        }
        Finish::Now(Answer::text(200, [waiting.as_bytes(), &body, b";"].concat()))
    }

    fn broken(&self, _waiting: String, fault: BodyFault) -> Answer {
        let mut answer = fault.answer();
        if let Body::Whole(text) = answer.body {
            answer.body = Body::Whole([b"broken: ", &text[..]].concat().into());
        }
        answer
    }
}

/// Runs `test` against a server, and stops it afterwards unless the test did.
pub fn with_server(echo: Echo, test: impl FnOnce(SocketAddr)) {
    let server = Server::bind(&Listen::Addresses(vec!["127.0.0.1:0".to_owned()]), echo.workers).unwrap();
    let address = server.addresses()[0];
    let http = echo.http;
    let serving =
        std::thread::spawn(move || server.serve(&http, Arc::new(|quit| EchoService { quit })).unwrap());
    test(address);
    if let Ok(mut client) = TcpStream::connect(address) {
        // If the server is stopping already, the request may come too late.
        let _ = client.write_all(b"PUT /quit HTTP/1.1\r\nHost: h\r\n\r\n");
        let _ = client.read_to_end(&mut Vec::new());
    }
    serving.join().unwrap();
}

/// A connection on which a server that forgets us fails the test instead of hanging it.
pub fn connect(server: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(server).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Sends while reading, until the server closes; its answers.
pub fn exchange(server: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(server);
    let mut writer = client.try_clone().unwrap();
    let request = request.to_vec();
    let sending = std::thread::spawn(move || {
        // The server may close before it has read everything; what it says then is the test.
        let _ = writer.write_all(&request);
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    drop(client);
    sending.join().unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends byte by byte, then reads until the server closes.
pub fn exchange_slowly(server: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(server);
    client.set_nodelay(true).unwrap();
    for byte in request {
        client.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads one answer of a connection that stays open.
pub fn read_answer(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

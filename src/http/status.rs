//! Status codes on the wire: refusals, and the words beside the numbers.

use crate::model::{Reason, Refusal};

use super::encoding;
use super::response::Answer;

/// Seconds after which a push may be tried again that found no room: somebody has to delete first.
const ROOM_SECONDS: &str = "60";

/// The answer to a refused request.
pub fn refused(refusal: &Refusal) -> Answer {
    let answer = Answer::error(refusal.reason.status(), &refusal.text);
    match refusal.reason {
        // RFC 9110 section 12.5.3: so that the client knows what it may send.
        Reason::UnsupportedEncoding => answer.header("Accept-Encoding", encoding::TAKEN),
        Reason::Full(_) => answer.header("Retry-After", ROOM_SECONDS),
        _ => refusal.headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value.clone())),
    }
}

/// The reason phrase of RFC 9110, as Go spells it.
pub fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        202 => "Accepted",
        301 => "Moved Permanently",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

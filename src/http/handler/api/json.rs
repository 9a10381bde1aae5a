//! Writes JSON into pieces of bounded size, so that a large answer never moves in memory as it grows.

use bytes::Bytes;

use crate::format::{float, json};

/// A piece is closed once it is this long.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of an answer: finished pieces, and the one being written.
#[derive(Default)]
pub struct Writer {
    pieces: Vec<Bytes>,
    current: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
        self.close_if_full();
    }

    /// A quoted string.
    pub fn string(&mut self, text: &str) {
        json::push_string(&mut self.current, text);
        self.close_if_full();
    }

    /// A float64 as a string, which is how the API shows all numbers.
    pub fn float(&mut self, value: f64) {
        self.current.push(b'"');
        float::write_float_json(&mut self.current, value);
        self.current.push(b'"');
    }

    /// A count as a string.
    pub fn count(&mut self, count: u64) {
        self.string(itoa::Buffer::new().format(count));
    }

    /// All pieces.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.pieces
    }

    fn close_if_full(&mut self) {
        if self.current.len() >= PIECE_BYTES {
            self.close();
            // What follows a full piece is likely to be long too. The slack takes the last string.
            self.current.reserve_exact(PIECE_BYTES + 1024);
        }
    }

    fn close(&mut self) {
        if !self.current.is_empty() {
            self.pieces.push(std::mem::take(&mut self.current).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_everything_in_order() {
        let mut writer = Writer::new();
        for number in 0..30_000 {
            writer.string(&number.to_string());
        }
        let pieces = writer.finish();
        assert!(pieces.len() > 2);
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < PIECE_BYTES + 10));
        let whole = pieces.concat();
        assert!(whole.starts_with(b"\"0\"\"1\"") && whole.ends_with(b"\"29999\""));
        assert!(Writer::new().finish().is_empty());
    }
}

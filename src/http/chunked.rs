//! The chunked transfer coding (RFC 9112 section 7.1), read strictly.
//!
//! Extensions and trailers are skipped. Every line ends in CR LF, a size is one to sixteen hexadecimal
//! digits and nothing else: leniency here lets two parsers disagree about where a request ends.

/// Longest line of a chunk size with its extensions.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of extensions and trailers in one body: it bounds what a body can cost beside its data.
const SKIPPED_BYTES_MAX: usize = 64 * 1024;

/// A body in progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    /// Bytes of data left in the current chunk; while its size is read, the size so far.
    left: u64,
    /// Digits or bytes of the current line.
    line: usize,
    skipped: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    TrailerStart,
    Trailer,
    TrailerFeed,
    EndFeed,
    Done,
}

/// The bytes are no chunked body; the text says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk(pub &'static str);

const BAD_SIZE: BadChunk = BadChunk("invalid chunk size");
const BAD_END: BadChunk = BadChunk("malformed chunked encoding");
const TOO_MUCH: BadChunk = BadChunk("chunk extensions or trailers are too long");

impl ChunkDecoder {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes from `input` and hands the data among them to `data`, piece by piece. Returns how many
    /// bytes it took: all of them, unless the body ended before.
    ///
    /// # Errors
    ///
    /// The framing is broken; the decoder is of no use any more.
    pub fn decode(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let piece = (input.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                data(&input[at..at + piece]);
                at += piece;
                self.left -= piece as u64;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
                continue;
            }
            self.step(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.line += 1;
                if self.line > 16 {
                    return Err(BAD_SIZE);
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            (State::Size, b'\r') if self.line > 0 => State::SizeFeed,
            (State::Size, b';') if self.line > 0 => State::Extension,
            (State::Size, _) => return Err(BAD_SIZE),
            (State::Extension, b'\r') => State::SizeFeed,
            (State::Extension, _) => self.skip(byte, State::Extension)?,
            (State::SizeFeed, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndFeed,
            (State::Trailer, b'\r') => State::TrailerFeed,
            (State::TrailerStart | State::Trailer, _) => self.skip(byte, State::Trailer)?,
            (State::TrailerFeed, b'\n') => {
                self.line = 0;
                State::TrailerStart
            }
            (State::EndFeed, b'\n') => State::Done,
            _ => return Err(BAD_END),
        };
        Ok(())
    }

    fn skip(&mut self, byte: u8, state: State) -> Result<State, BadChunk> {
        self.line += 1;
        self.skipped += 1;
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. if self.line <= LINE_BYTES_MAX => {}
            b'\t' | b' '..=b'~' | 0x80.. => return Err(TOO_MUCH),
            _ => return Err(BAD_END),
        }
        if self.skipped > SKIPPED_BYTES_MAX { Err(TOO_MUCH) } else { Ok(state) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, how many bytes were taken, and whether the body ended; or the error.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut decoder = ChunkDecoder::default();
        let mut body = Vec::new();
        let mut taken = 0;
        for piece in pieces {
            taken += decoder.decode(piece, |data| body.extend_from_slice(data))?;
        }
        Ok((body, taken, decoder.is_done()))
    }

    #[test]
    fn data_extensions_and_trailers() {
        let input = b"4;x=y\r\nabcd\r\n005\r\nefghi\r\n0;last\r\nX-Trailer: z\r\n\r\nnext";
        let (body, taken, done) = decode(&[input]).unwrap();
        assert_eq!((&body[..], taken, done), (&b"abcdefghi"[..], input.len() - 4, true));
        assert_eq!(decode(&[b"0\r\n\r\n"]), Ok((Vec::new(), 5, true)));
        assert_eq!(decode(&[b"3\r\nab"]), Ok((b"ab".to_vec(), 5, false)));
    }

    #[test]
    fn broken_framing_is_refused() {
        for (input, expected) in [
            (&b"x\r\n"[..], BAD_SIZE),
            (b"0x3\r\n", BAD_SIZE),
            (b"+3\r\n", BAD_SIZE),
            (b"-3\r\n", BAD_SIZE),
            (b"1_0\r\n", BAD_SIZE),
            (b" 3\r\n", BAD_SIZE),
            (b"3 \r\n", BAD_SIZE),
            (b"\r\n", BAD_SIZE),
            (b";x\r\n", BAD_SIZE),
            (b"00000000000000003\r\n", BAD_SIZE),
            (b"3\nabc", BAD_SIZE),
            (b"3\rabc", BAD_END),
            (b"3;a\nabc", BAD_END),
            (b"3\r\nabcd\r\n", BAD_END),
            (b"3\r\nabc\n", BAD_END),
            (b"0\r\n\n", BAD_END),
            (b"0\r\nA: b\n\r\n", BAD_END),
            (b"0\r\nA: b\rx", BAD_END),
        ] {
            assert_eq!(decode(&[input]), Err(expected), "{:?}", String::from_utf8_lossy(input));
        }
        let long = [b"1;".to_vec(), vec![b'x'; LINE_BYTES_MAX + 1]].concat();
        assert_eq!(decode(&[&long]), Err(TOO_MUCH));
        let many = [b"1;".to_vec(), vec![b'x'; 4000], b"\r\na\r\n".to_vec()].concat().repeat(17);
        assert_eq!(decode(&[&many]), Err(TOO_MUCH));
    }

    proptest! {
        #[test]
        fn any_split_of_the_input_gives_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend(format!("{:X};e\r\n", chunk.len()).bytes());
                input.extend(chunk);
                input.extend(b"\r\n");
            }
            input.extend(b"0\r\nT: x\r\n\r\ntail");
            if let Some((at, byte)) = &damage {
                *at.get_mut(&mut input) = *byte;
            }
            let whole = decode(&[&input]);
            cuts.sort_by_key(|cut| cut.index(input.len()));
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in &cuts {
                let to = cut.index(input.len());
                pieces.push(&input[from..to]);
                from = to;
            }
            pieces.push(&input[from..]);
            prop_assert_eq!(decode(&pieces), whole.clone());
            if damage.is_none() {
                prop_assert_eq!(whole, Ok((chunks.concat(), input.len() - 4, true)));
            }
        }
    }
}

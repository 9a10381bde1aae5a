//! Deflate streams (RFC 1951), bare or wrapped as zlib does (RFC 1950).

use std::cell::Cell;

use flate2::{Decompress, FlushDecompress, Status};

use super::output::{Fault, Output};

thread_local! {
    /// The state, and with it the window, that the last stream of this thread was inflated with.
    static SPARE: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// A stream's state on loan from the thread.
pub(super) struct Inflater(Decompress);

/// What a stream does not hold; the number is that of the bytes read before.
pub(super) enum Broken {
    Cut,
    Corrupt(u64),
    TooLarge,
}

impl Inflater {
    pub(super) fn new() -> Inflater {
        Inflater(SPARE.take().unwrap_or_else(|| Decompress::new(false)))
    }

    /// Appends what the stream at the beginning of `input` holds, and gives back what stands behind it.
    pub(super) fn inflate<'b>(
        &mut self,
        mut input: &'b [u8],
        has_zlib_header: bool,
        output: &mut Output,
    ) -> Result<&'b [u8], Broken> {
        let state = &mut self.0;
        state.reset(has_zlib_header);
        loop {
            let read_before = state.total_in();
            let written_before = state.total_out();
            let room = output.room().map_err(|_| Broken::TooLarge)?;
            let status = state
                .decompress_vec(input, room, FlushDecompress::None)
                .map_err(|_| Broken::Corrupt(state.total_in()))?;
            // No more than was given.
            let read = (state.total_in() - read_before) as usize;
            input = &input[read..];
            if status == Status::StreamEnd {
                return Ok(input);
            }
            if read == 0 && state.total_out() == written_before {
                return Err(Broken::Cut);
            }
        }
    }

    /// Gives the state back for the thread's next stream.
    pub(super) fn keep(self) {
        SPARE.set(Some(self.0));
    }
}

/// Decodes the content coding `deflate`.
pub(super) fn decode_deflate(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    if body.is_empty() {
        return Err(Fault::corrupt("EOF"));
    }
    let mut inflater = Inflater::new();
    let outcome = inflater.inflate(body, has_zlib_header(body), output);
    inflater.keep();
    match outcome {
        Ok([]) => Ok(()),
        Ok(_) => Err(Fault::corrupt("deflate: data after the end of the stream")),
        Err(Broken::Cut) => Err(Fault::cut()),
        Err(Broken::Corrupt(_)) => Err(Fault::corrupt("deflate: corrupt input")),
        Err(Broken::TooLarge) => Err(Fault::TooLarge),
    }
}

/// Whether a stream begins as zlib wraps it. The low half of its first byte is then 8, which in a bare
/// stream would be a stored block whose padding is not zero: no encoder writes that.
fn has_zlib_header(body: &[u8]) -> bool {
    match *body {
        [method, flags, ..] => {
            method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        }
        [method] => method & 0x0f == 8,
        [] => false,
    }
}

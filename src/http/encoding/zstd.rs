//! zstd (RFC 8878).

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::output::{Fault, Output};

/// Largest window of a frame as a power of two: 8 MiB, the bound that RFC 9659 sets for HTTP. The
/// decoder's memory follows from it.
const WINDOW_LOG_MAX: u32 = 23;

/// Unpacks all frames.
pub(super) fn decode(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    if body.is_empty() {
        return Err(Fault::corrupt("EOF"));
    }
    let fault = |code| Fault::corrupt(format!("zstd: {}", get_error_name(code)));
    let mut decoder = DCtx::try_create().ok_or_else(|| Fault::corrupt("zstd: out of memory"))?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(fault)?;
    let mut input = InBuffer::around(body);
    loop {
        let room = output.room()?;
        let (read, written) = (input.pos(), room.len());
        let mut out = OutBuffer::around_pos(room, written);
        // Zero at the end of a frame; else how much more the decoder would like to have.
        let wanted = decoder.decompress_stream(&mut out, &mut input).map_err(fault)?;
        let is_idle = input.pos() == read && out.pos() == written;
        if input.pos() == body.len() && wanted == 0 {
            return Ok(());
        }
        if is_idle {
            return Err(Fault::cut());
        }
    }
}

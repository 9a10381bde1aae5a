//! Reads a log before it is written to again: which records count, and whether anything is missing.
//!
//! Nothing is changed while reading. What is left of a write that was cut short is removed by
//! [`Scan::resume`], which is called once everything was found to make sense.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::keeper::Hashing;
use super::log::{self, Log, Segment};
use super::records::Summary;
use super::segment::{self, BadHeader, Frame, Header, Kind, Verdict};

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refused; trying again later may help.
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its file {0} is of a newer format")]
    Newer(String),
    #[error("its file {0} is missing")]
    Missing(String),
    #[error("its file {file} is damaged at byte {at}")]
    Damaged { file: String, at: usize },
}

/// Where a record is.
#[derive(Clone, Debug)]
pub struct Place {
    pub segment: u64,
    pub record: Range<usize>,
}

/// The records of a group that count.
#[derive(Debug, Default)]
pub struct Places {
    pub shape: Option<Place>,
    pub values: Option<Place>,
}

/// The groups of a log by the bytes of their keys.
pub type Live = HashMap<Vec<u8>, Places, Hashing>;

/// What a log holds.
#[derive(Debug)]
pub struct Scan {
    folder: PathBuf,
    pub live: Live,
    pub summary: Summary,
    segments: Vec<Segment>,
    /// Of the newest segment.
    header: Option<Header>,
    sequence: u64,
    is_sealed: bool,
    /// The torn end of the newest segment.
    torn: Option<Range<usize>>,
    /// A segment that was never put to use.
    stillborn: Option<u64>,
}

impl Scan {
    /// Reads the log in `folder`.
    ///
    /// # Errors
    ///
    /// Something of it cannot be read, or is missing.
    pub fn of(folder: &Path) -> Result<Scan, LogError> {
        let mut scan = Scan {
            folder: folder.to_owned(),
            live: Live::default(),
            summary: Summary::default(),
            segments: Vec::new(),
            header: None,
            sequence: 0,
            is_sealed: true,
            torn: None,
            stillborn: None,
        };
        let numbers = log::numbers_in(folder)?;
        for (at, number) in numbers.iter().enumerate() {
            if at > 0 && numbers[at - 1] + 1 != *number {
                return Err(LogError::Missing(name_of(numbers[at - 1] + 1)));
            }
            scan.take(*number, at + 1 == numbers.len())?;
        }
        if scan.is_sealed {
            return Err(LogError::Missing(name_of(numbers.last().map_or(1, |last| last + 1))));
        }
        Ok(scan)
    }

    fn take(&mut self, number: u64, is_last: bool) -> Result<(), LogError> {
        let damaged = |at| LogError::Damaged { file: name_of(number), at };
        let bytes = fs::read(log::path_of(&self.folder, number))?;
        let header = Header::read(&bytes);
        let fits = |header: &Header| header.number == number && bytes.len() as u64 >= header.length;
        if !self.is_sealed {
            // The segment before this one goes on. So this one was made, and nothing else happened.
            let is_empty = header.is_err() || bytes[segment::HEADER_BYTES..].iter().all(|byte| *byte == 0);
            if !is_last || !is_empty {
                let before = self.segments.last().map_or(0, |segment| segment.bytes as usize);
                return Err(LogError::Damaged { file: name_of(number - 1), at: before });
            }
            self.stillborn = Some(number);
            return Ok(());
        }
        let header = match header {
            Err(BadHeader::Version) => return Err(LogError::Newer(name_of(number))),
            Err(BadHeader::Damaged) => return Err(damaged(0)),
            Ok(header) if !fits(&header) => return Err(damaged(bytes.len())),
            Ok(header) => header,
        };
        let (frames, verdict) = segment::examine(&bytes, header.salt, self.sequence);
        self.torn = match verdict {
            Verdict::Whole => None,
            Verdict::Torn(torn) => Some(torn),
            Verdict::Damaged(at) => return Err(damaged(at)),
        };
        for frame in &frames {
            if apply(&mut self.live, &bytes, number, frame) != frame.entries.end {
                return Err(damaged(frame.start));
            }
        }
        if let Some(Frame { head, .. }) = frames.last() {
            self.sequence = head.sequence;
            self.summary = head.summary;
        }
        self.is_sealed = frames.last().is_some_and(|frame| frame.head.is_seal);
        let end = frames.last().map_or(segment::HEADER_BYTES, |frame| frame.entries.end);
        self.segments.push(Segment { number, bytes: end as u64 });
        self.header = Some(header);
        Ok(())
    }

    /// Removes what is left of a write that was cut short, and goes on with the log.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn resume(self) -> io::Result<(Log, Live)> {
        if let Some(number) = self.stillborn {
            fs::remove_file(log::path_of(&self.folder, number))?;
            File::open(&self.folder)?.sync_all()?;
        }
        let header = self.header.ok_or(io::ErrorKind::NotFound)?;
        if let Some(torn) = self.torn {
            tracing::warn!(
                file = name_of(header.number),
                at = torn.start,
                bytes = torn.len(),
                "cut the torn end of a write that was never acknowledged"
            );
            let file = File::options().write(true).open(log::path_of(&self.folder, header.number))?;
            // Not made shorter, not even for a moment: a short file is damage.
            file.write_all_at(&vec![0; torn.len()], torn.start as u64)?;
            file.sync_all()?;
        }
        Ok((Log::resume(&self.folder, self.segments, header, self.sequence)?, self.live))
    }
}

/// Reads every batch of the log in `folder` that is whole, whatever lies between them, and the summary of the
/// last one; counts in `faults` what is missing or cannot be read.
///
/// # Errors
///
/// The folder cannot be read.
pub fn readable(folder: &Path, faults: &mut usize) -> io::Result<(Live, Summary)> {
    let (mut live, mut summary) = (Live::default(), Summary::default());
    let mut sequence = 0;
    for number in log::numbers_in(folder)? {
        let bytes = match fs::read(log::path_of(folder, number)) {
            Ok(bytes) => bytes,
            Err(error) => {
                *faults += 1;
                tracing::error!(file = name_of(number), err = %error, "left out");
                continue;
            }
        };
        let salt =
            Header::read(&bytes).ok().map(|header| header.salt).or_else(|| segment::salt_of_first(&bytes));
        let frames: Vec<Frame> = salt
            .map(|salt| segment::frames_from(&bytes, salt, segment::HEADER_BYTES).collect())
            .unwrap_or_default();
        for frame in frames {
            if sequence != 0 && frame.head.sequence != sequence + 1 {
                *faults += 1;
                tracing::error!(
                    file = name_of(number),
                    at = frame.start,
                    "batches are missing before this one"
                );
            }
            (sequence, summary) = (frame.head.sequence, frame.head.summary);
            apply(&mut live, &bytes, number, &frame);
        }
    }
    Ok((live, summary))
}

/// Books the entries of a batch; where they end.
fn apply(live: &mut Live, bytes: &[u8], segment: u64, frame: &Frame) -> usize {
    let mut end = frame.entries.start;
    for entry in segment::entries(bytes, frame) {
        end = entry.record.end;
        let key = &bytes[entry.key];
        if entry.kind == Kind::Gone {
            live.remove(key);
            continue;
        }
        let place = Some(Place { segment, record: entry.record });
        let places = match live.get_mut(key) {
            Some(places) => places,
            None => live.entry(key.to_vec()).or_default(),
        };
        match entry.kind {
            Kind::Shape => places.shape = place,
            _ => places.values = place,
        }
    }
    end
}

/// Shows the records of `live` to `take`, in the order in which they were written, so that a group's shape
/// comes before its values.
///
/// # Errors
///
/// A file cannot be read, or `take` gave up.
pub fn each<E: From<LogError>>(
    folder: &Path,
    live: &Live,
    mut take: impl FnMut(Kind, &[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut records: Vec<(&Place, Kind, &[u8])> = Vec::with_capacity(2 * live.len());
    for (key, places) in live {
        records.extend(places.shape.as_ref().map(|place| (place, Kind::Shape, &key[..])));
        records.extend(places.values.as_ref().map(|place| (place, Kind::Values, &key[..])));
    }
    records.sort_unstable_by_key(|(place, ..)| (place.segment, place.record.start));
    let (mut bytes, mut number) = (Vec::new(), None);
    for (place, kind, key) in records {
        if number != Some(place.segment) {
            bytes = fs::read(log::path_of(folder, place.segment)).map_err(LogError::from)?;
            number = Some(place.segment);
        }
        // Too short only if somebody else changed it since; then the record's checksum tells.
        take(kind, key, bytes.get(place.record.clone()).unwrap_or_default())?;
    }
    Ok(())
}

fn name_of(number: u64) -> String {
    let path = log::path_of(Path::new(""), number);
    path.display().to_string()
}

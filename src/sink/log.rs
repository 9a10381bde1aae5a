//! The log under the durable sink: batches appended to segments, the oldest of which goes when nothing in
//! it counts any more.
//!
//! # Invariants
//!
//! 1. A segment is on the disk, as is its name, before anything is written to it.
//! 2. All of a segment is on the disk before its successor takes a batch. Only the end of the newest can
//!    be torn.
//! 3. After an error nothing more is written to this log: the caller drops it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::records::Summary;
use super::segment::{BATCH_HEAD_BYTES, Batch, HEADER_BYTES, Head, Header};
use crate::limits;

const SUFFIX: &str = ".log";

/// An open log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    /// The newest segment comes last.
    segments: VecDeque<Segment>,
    file: File,
    header: Header,
    /// Of the last batch.
    sequence: u64,
    /// The last batch of which it is known that it is on the disk.
    synced: u64,
}

/// A file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub number: u64,
    /// Bytes of its header and its batches.
    pub bytes: u64,
}

impl Log {
    /// Makes a log in the new folder `folder`; its name is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn create(folder: &Path) -> io::Result<Log> {
        fs::create_dir(folder)?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        let (file, header) = new_segment(folder, 1, limits::SEGMENT_BYTES)?;
        let segments = VecDeque::from([Segment { number: 1, bytes: HEADER_BYTES as u64 }]);
        Ok(Log { folder: folder.to_owned(), segments, file, header, sequence: 0, synced: 0 })
    }

    /// Goes on with the log in `folder`, whose `segments` end with a batch of the sequence `sequence`; the
    /// newest has the header `header`. What was handed to the system and not synced is synced first.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn resume(folder: &Path, segments: Vec<Segment>, header: Header, sequence: u64) -> io::Result<Log> {
        let file = File::options().write(true).open(path_of(folder, header.number))?;
        file.sync_all()?;
        Ok(Log {
            folder: folder.to_owned(),
            segments: segments.into(),
            file,
            header,
            sequence,
            synced: sequence,
        })
    }

    /// The sequence of the next batch.
    pub fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The oldest segment, if it takes no more batches.
    pub fn oldest_full(&self) -> Option<u64> {
        if self.segments.len() > 1 { self.segments.front().map(|segment| segment.number) } else { None }
    }

    /// Hands a batch to the system. Returns the segment it is in.
    ///
    /// # Errors
    ///
    /// It may be there or not.
    pub fn append(&mut self, batch: &mut Batch, summary: Summary) -> io::Result<u64> {
        // A seal must have room behind it.
        let needed = (batch.len() + BATCH_HEAD_BYTES) as u64;
        if self.newest().bytes + needed > self.header.length {
            self.rotate(summary, limits::SEGMENT_BYTES.max(HEADER_BYTES as u64 + needed))?;
        }
        self.write(batch, summary, false)?;
        Ok(self.header.number)
    }

    /// Waits until everything that was appended is on the disk.
    ///
    /// # Errors
    ///
    /// It may be there or not.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.sequence {
            // The file has its length, so its blocks are all that is new.
            self.file.sync_data()?;
            self.synced = self.sequence;
        }
        Ok(())
    }

    /// Removes the oldest segment, once everything that was appended is on the disk.
    ///
    /// # Errors
    ///
    /// It may still be there.
    pub fn remove_oldest(&mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(number) = self.oldest_full() {
            fs::remove_file(path_of(&self.folder, number))?;
            // Without this a younger one could be gone after a crash and this one still be there.
            File::open(&self.folder)?.sync_all()?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn newest(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has a segment")
    }

    fn rotate(&mut self, summary: Summary, length: u64) -> io::Result<()> {
        let number = self.header.number + 1;
        let (file, header) = new_segment(&self.folder, number, length)?;
        self.sync()?;
        self.write(&mut Batch::default(), summary, true)?;
        self.sync()?;
        (self.file, self.header) = (file, header);
        self.segments.push_back(Segment { number, bytes: HEADER_BYTES as u64 });
        Ok(())
    }

    fn write(&mut self, batch: &mut Batch, summary: Summary, is_seal: bool) -> io::Result<()> {
        let head = Head { is_seal, sequence: self.next_sequence(), synced: self.synced, summary };
        let bytes = batch.finish(self.header.salt, &head);
        let at = self.segments.back().map_or(0, |segment| segment.bytes);
        self.file.write_all_at(bytes, at)?;
        self.newest().bytes += bytes.len() as u64;
        self.sequence = head.sequence;
        Ok(())
    }
}

/// The segments in a folder, oldest first.
///
/// # Errors
///
/// The folder cannot be read.
pub fn numbers_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        numbers.extend(name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where a segment lies.
pub fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

fn new_segment(folder: &Path, number: u64, length: u64) -> io::Result<(File, Header)> {
    // The standard library's hasher has keys drawn by the system. Zero is what lies behind batches.
    let header = Header { number, salt: RandomState::new().hash_one(number) | 1, length };
    let file = File::create_new(path_of(folder, number))?;
    file.set_len(length)?;
    file.write_all_at(&header.bytes(), 0)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok((file, header))
}

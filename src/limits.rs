//! Every bound, with where it comes from and how the bounds relate.
//!
//! The reference has almost none of these; each is therefore high, and a flag where operators differ.

use std::time::Duration;

/// Longest request head (request line and headers), where no flag says otherwise.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest request line; RFC 9112 section 3 asks for at least 8,000.
pub const REQUEST_LINE_BYTES_MAX: usize = 16 * 1024;

/// Most header lines in one head.
pub const HEADERS_MAX: usize = 128;

/// Largest request body as sent.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest request body once decoded.
pub const DECODED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Most that the limit on decoded bodies can be set to. Positions in what is made of a body are kept as
/// u32, and label text grows to at most three times the body's bytes: `instance=""` is added to series
/// without one.
pub const DECODED_BYTES_LIMIT_MAX: usize = 1024 * 1024 * 1024;

/// Longest compressed body that a worker tries to unpack itself.
pub const INLINE_BODY_BYTES_MAX: usize = 64 * 1024;

/// Most bytes that a worker unpacks itself: about a millisecond of its time.
pub const INLINE_DECODED_BYTES_MAX: usize = 1024 * 1024;

/// Threads that unpack larger bodies.
pub const DECODER_THREADS: usize = 2;

/// Large compressed bodies that wait for one of those threads before further ones are refused.
pub const DECODER_QUEUE_MAX: usize = 256;

/// Passwords of one address that wait to be compared before further ones are refused.
pub const PASSWORDS_WAITING_PER_ADDRESS_MAX: usize = 16;

/// Passwords of all addresses together that wait to be compared.
pub const PASSWORDS_WAITING_MAX: usize = 1024;

/// Right, and wrong, passwords whose comparison is remembered.
pub const VERDICTS_MAX: usize = 4096;

/// Labels one series may carry, the grouping labels included.
pub const SERIES_LABELS_MAX: usize = 256;

/// Grouping labels one push URL may carry.
pub const GROUPING_LABELS_MAX: usize = 64;

/// Longest value of a label.
pub const LABEL_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Metric families in one push.
pub const PUSH_FAMILIES_MAX: usize = 1_000_000;

/// Series in one push.
pub const PUSH_SERIES_MAX: usize = 1_000_000;

/// Distinct sets of grouping label names in use at once: {job}, {job, instance}, ... A push of a new
/// shape looks for each of them.
pub const GROUPING_NAME_SETS_MAX: usize = 1024;

/// Most keys of merged pushes that a group can be told to remember: each push looks through them.
pub const MERGE_KEYS_MAX: usize = 65_536;

/// Longest wait for a whole request head, from its first byte.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// Longest wait for a whole request body, beside a second for each [`BODY_BYTES_PER_SECOND_MIN`] of it that
/// arrived.
pub const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// A body that keeps arriving at this rate is waited for, however long it is.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// Rendered and compressed segments kept ready for scrapes: room for about eight million series where
/// scrapers take plain text, for fifty million where they take gzip.
pub const EXPOSITION_CACHE_BYTES_MAX: usize = 1 << 30;

/// Longest wait for a scraper or pusher to take the next piece of an answer.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Longest quiet time of a kept-alive connection.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(300);

/// How long a stopping server waits for requests in flight.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// How long the rest of a refused request is read and thrown away, so that the client can read the
/// refusal before the connection is reset.
pub const LINGER_DEADLINE: Duration = Duration::from_secs(5);

/// Most bytes read and thrown away after a refusal.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest body that is read past for the sake of keeping the connection, when the answer does not need
/// it. The reference has the same bound.
pub const DISCARD_BYTES_MAX: u64 = 256 * 1024;

/// Read buffer of a quiet connection; most requests fit whole.
pub const IDLE_BUFFER_BYTES: usize = 4 * 1024;

/// Read buffer of a quiet connection among many.
pub const CROWDED_BUFFER_BYTES: usize = 512;

/// Largest read buffer of a busy connection; longer bodies get a buffer of their own.
pub const BUSY_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Answers of pipelined requests are written together up to this many bytes.
pub const ANSWER_BATCH_BYTES: usize = 64 * 1024;

/// File descriptors that connections may not use: listeners, runtime, files.
pub const RESERVED_DESCRIPTORS: usize = 64;

/// A file of the log on disk, unless one commit needs more. Unit tests are to see many of them.
pub const SEGMENT_BYTES: u64 = if cfg!(test) { 64 * 1024 } else { 16 * 1024 * 1024 };

/// What the log may hold beyond twice what counts in it.
pub const LOG_SLACK_BYTES: u64 = 4 * SEGMENT_BYTES;

/// Least that a commit to a log that is too long writes anew, beside three times its own bytes: the log is
/// shortened faster than it grows.
pub const CLEANED_BYTES_MIN: usize = SEGMENT_BYTES as usize / 64;

/// Memory kept from one commit for the next.
pub const KEPT_BATCH_BYTES: usize = 1024 * 1024;

/// Longest grouping key that is taken from another gateway, encoded.
pub const STORED_KEY_BYTES_MAX: usize = u16::MAX as usize - 1;

/// Groups are written to a fresh log in batches of about this size.
pub const SEED_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Longest time that a commit may take before changes are refused until it is done.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(10);

/// Longest wait of a push for the disk; then its outcome is unknown. A little longer, so that whoever asks
/// after that is refused.
pub const PUSH_WAIT_DEADLINE: Duration = COMMIT_DEADLINE.saturating_add(Duration::from_millis(500));

/// Between two attempts to start anew after the disk failed.
pub const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Shortest time between two saves that were asked for at intervals.
pub const SAVE_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Between two saves where nobody asked for the disk's word.
pub const UNSYNCED_SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two records of the time where groups have lifetimes and nothing else is written: a wall clock
/// that is set meanwhile is believed for this long after a crash.
pub const TIME_RECORD_INTERVAL: Duration = Duration::from_secs(60);

/// Refused requests that are remembered: in all, and of one job.
pub const JOURNAL_ENTRIES_MAX: usize = 1000;
pub const JOURNAL_ENTRIES_PER_JOB_MAX: usize = 20;

/// Bytes of each text that is remembered of a refused request.
pub const JOURNAL_TEXT_BYTES_MAX: usize = 512;

/// Pages and lists that wait to be made.
pub const ASIDE_QUEUE_MAX: usize = 64;

/// Log lines that wait for standard error before further ones are dropped.
pub const LOG_LINES_QUEUED_MAX: usize = 4096;

/// Bytes of the input that an error text repeats.
pub const ECHO_BYTES_MAX: usize = 200;

/// Bytes after which an error text cuts the labels of a series or group that it names.
pub const ECHO_LABELS_BYTES_MAX: usize = 1000;

const _: () = {
    assert!(REQUEST_LINE_BYTES_MAX <= HEAD_BYTES_MAX);
    assert!(BODY_BYTES_MAX <= DECODED_BYTES_MAX);
    assert!(INLINE_DECODED_BYTES_MAX <= DECODED_BYTES_MAX);
    // A head must be able to arrive whole in the read buffer.
    assert!(HEAD_BYTES_MAX < BUSY_BUFFER_BYTES_MAX);
    assert!(IDLE_BUFFER_BYTES < BUSY_BUFFER_BYTES_MAX);
    assert!(CROWDED_BUFFER_BYTES < IDLE_BUFFER_BYTES);
    assert!(DECODED_BYTES_MAX <= DECODED_BYTES_LIMIT_MAX);
    assert!(DECODED_BYTES_LIMIT_MAX < u32::MAX as usize / 3);
    // A grouping key comes in a request line, and keeping it takes two bytes more for each label.
    assert!(REQUEST_LINE_BYTES_MAX + 2 * (GROUPING_LABELS_MAX + 1) <= STORED_KEY_BYTES_MAX);
    // Grouping labels are merged into every series and must leave room for the series' own.
    assert!(GROUPING_LABELS_MAX < SERIES_LABELS_MAX);
};

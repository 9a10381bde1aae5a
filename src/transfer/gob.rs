//! Reads a Pushgateway's persistence file: Go's `gob` stream of one map from grouping key to group.
//!
//! The stream describes its own types first; those descriptions are skipped by their length, since only
//! one layout was ever written (Pushgateway 0.10 and later):
//!
//! ```text
//! map[string]struct {
//!     Labels  map[string]string
//!     Metrics map[string]struct { Timestamp time; GobbableMetricFamily bytes }
//! }
//! ```
//!
//! The format is that of the package documentation of `encoding/gob`. Fields that are zero are left out;
//! maps are in any order. There is no checksum, so a damaged file may be read as another one.

use crate::clock::UnixNanos;

/// From the year 1 to 1970, in seconds.
const UNIX_EPOCH_SECONDS: i64 = 62_135_596_800;

/// Why a file is not, or not whole, what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    #[error("it ends too early")]
    Cut,
    #[error("{0}")]
    Foreign(&'static str),
}

/// A group as the file has it. Nothing of it is checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Group<'f> {
    pub labels: Vec<(&'f [u8], &'f [u8])>,
    pub families: Vec<Family<'f>>,
}

/// A metric family of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Family<'f> {
    pub name: &'f [u8],
    pub pushed_at: UnixNanos,
    /// An `io.prometheus.client.MetricFamily` message.
    pub message: &'f [u8],
}

/// Reads a whole file. What follows the map is ignored, as by the reference.
///
/// # Errors
///
/// It is no such file, or not whole.
pub fn read(file: &[u8]) -> Result<Vec<Group<'_>>, GobError> {
    let mut stream = Reader(file);
    loop {
        let mut message = Reader(stream.bytes()?);
        let type_number = message.int()?;
        if type_number < 0 {
            // The description of a type.
            continue;
        }
        if message.uint()? != 0 {
            return Err(GobError::Foreign("its value is a structure"));
        }
        return (0..message.uint()?).map(|_| group(&mut message)).collect();
    }
}

fn group<'f>(reader: &mut Reader<'f>) -> Result<Group<'f>, GobError> {
    // The key says what the labels say.
    reader.bytes()?;
    let mut group = Group::default();
    let mut field = 0;
    while reader.next_field(&mut field)? {
        match field {
            1 => {
                for _ in 0..reader.uint()? {
                    group.labels.push((reader.bytes()?, reader.bytes()?));
                }
            }
            2 => {
                for _ in 0..reader.uint()? {
                    group.families.push(family(reader)?);
                }
            }
            _ => return Err(GobError::Foreign("a group has a field too many")),
        }
    }
    Ok(group)
}

fn family<'f>(reader: &mut Reader<'f>) -> Result<Family<'f>, GobError> {
    let mut family = Family { name: reader.bytes()?, ..Family::default() };
    let mut field = 0;
    while reader.next_field(&mut field)? {
        match field {
            1 => family.pushed_at = time(reader.bytes()?)?,
            2 => family.message = reader.bytes()?,
            _ => return Err(GobError::Foreign("a metric family has a field too many")),
        }
    }
    Ok(family)
}

/// Version, seconds since the year 1, nanoseconds, offset of the zone. The instant does not depend on
/// the zone.
fn time(bytes: &[u8]) -> Result<UnixNanos, GobError> {
    const BAD: GobError = GobError::Foreign("a time is not one");
    let (1 | 2, rest) = bytes.split_first().ok_or(BAD)? else { return Err(BAD) };
    let (seconds, rest) = rest.split_first_chunk().ok_or(BAD)?;
    let (nanos, _) = rest.split_first_chunk().ok_or(BAD)?;
    let seconds = i64::from_be_bytes(*seconds).checked_sub(UNIX_EPOCH_SECONDS).ok_or(BAD)?;
    let nanos = i32::from_be_bytes(*nanos);
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    // Times before 1970 stand for none at all.
    u64::try_from(all.max(0)).map(UnixNanos).map_err(|_| BAD)
}

struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    fn take(&mut self, length: usize) -> Result<&'f [u8], GobError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(GobError::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte if small, else the negated number of bytes that follow, the highest first.
    fn uint(&mut self) -> Result<u64, GobError> {
        let first = self.take(1)?[0];
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let length = usize::from(first.wrapping_neg());
        if length > 8 {
            return Err(GobError::Foreign("a number is too long"));
        }
        Ok(self.take(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The sign is the lowest bit.
    fn int(&mut self) -> Result<i64, GobError> {
        let bits = self.uint()?;
        let number = (bits >> 1) as i64;
        Ok(if bits & 1 == 1 { !number } else { number })
    }

    fn bytes(&mut self) -> Result<&'f [u8], GobError> {
        let length = self.uint()?;
        self.take(usize::try_from(length).map_err(|_| GobError::Cut)?)
    }

    /// Goes on to the next field of a structure, counted from 1; false at its end.
    fn next_field(&mut self, field: &mut u64) -> Result<bool, GobError> {
        let step = self.uint()?;
        *field = field.checked_add(step).ok_or(GobError::Foreign("a field number is too large"))?;
        Ok(step != 0)
    }
}

/// Writes what [`read`] reads, for tests.
#[cfg(test)]
pub mod writer {
    pub fn uint(out: &mut Vec<u8>, number: u64) {
        if number < 0x80 {
            out.push(number as u8);
            return;
        }
        let bytes = number.to_be_bytes();
        let bytes = &bytes[number.leading_zeros() as usize / 8..];
        out.push((bytes.len() as u8).wrapping_neg());
        out.extend_from_slice(bytes);
    }

    pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        uint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    pub fn time(unix_nanos: u64) -> Vec<u8> {
        let seconds = (unix_nanos / 1_000_000_000) as i64 + super::UNIX_EPOCH_SECONDS;
        let nanos = (unix_nanos % 1_000_000_000) as u32;
        [&[1][..], &seconds.to_be_bytes(), &nanos.to_be_bytes(), &[0xff, 0xff]].concat()
    }

    /// Name, time of the push in nanoseconds, message.
    pub type Family<'f> = (&'f str, u64, Vec<u8>);

    /// A file of groups: their labels and families.
    pub fn file(groups: &[(&[(&str, &str)], Vec<Family<'_>>)]) -> Vec<u8> {
        let mut value = vec![140, 0];
        value.splice(..1, [0xff, 140]);
        uint(&mut value, groups.len() as u64);
        for (labels, families) in groups {
            bytes(&mut value, b"key");
            value.push(1);
            uint(&mut value, labels.len() as u64);
            for (name, label) in *labels {
                bytes(&mut value, name.as_bytes());
                bytes(&mut value, label.as_bytes());
            }
            value.push(1);
            uint(&mut value, families.len() as u64);
            for (name, at, message) in families {
                bytes(&mut value, name.as_bytes());
                value.push(1);
                bytes(&mut value, &time(*at));
                value.push(1);
                bytes(&mut value, message);
                value.push(0);
            }
            value.push(0);
        }
        let mut file = Vec::new();
        // A description of type 64, whatever it says.
        bytes(&mut file, &[127, 3, 1, 2, 3]);
        bytes(&mut file, &value);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_documentation() {
        let read = |bytes: &[u8]| Reader(bytes).uint();
        assert_eq!(read(&[7]), Ok(7));
        assert_eq!(read(&[0xff, 0x8d]), Ok(141));
        assert_eq!(read(&[0xfe, 1, 0]), Ok(256));
        assert_eq!(read(&[0xfe, 1]), Err(GobError::Cut));
        assert!(read(&[0xf0]).is_err());
        assert_eq!(Reader(&[0xff, 129]).int(), Ok(-65));
        assert_eq!(Reader(&[0xff, 140]).int(), Ok(70));
        for number in [0, 127, 128, 255, 256, 1 << 40, u64::MAX] {
            let mut bytes = Vec::new();
            writer::uint(&mut bytes, number);
            assert_eq!(read(&bytes), Ok(number));
        }
    }

    #[test]
    fn a_file_is_read_whole_and_its_cuts_are_found() {
        let labels: &[(&str, &str)] = &[("job", "j"), ("a", "")];
        let file = writer::file(&[
            (labels, vec![("m", 1_784_000_000_514_629_762, b"message".to_vec()), ("n", 0, vec![7; 300])]),
            (&[("job", "k")], vec![]),
        ]);
        let groups = read(&file).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].labels, [(&b"job"[..], &b"j"[..]), (b"a", b"")]);
        let family =
            Family { name: b"m", pushed_at: UnixNanos(1_784_000_000_514_629_762), message: b"message" };
        assert_eq!(groups[0].families[0], family);
        assert_eq!(groups[0].families[1].message.len(), 300);
        assert_eq!(groups[1].families, []);
        for length in 0..file.len() {
            assert_eq!(read(&file[..length]), Err(GobError::Cut), "{length}");
        }
    }

    #[test]
    fn times_are_those_of_go() {
        // 2026-07-14 or so, as the reference wrote it.
        let bytes = [1, 0, 0, 0, 0x0e, 0xe2, 0x93, 0x4f, 0x4d, 0x1e, 0xac, 0xa0, 0x82, 0, 0];
        let seconds = 0x0e_e293_4f4d_i64 - UNIX_EPOCH_SECONDS;
        assert_eq!(time(&bytes), Ok(UnixNanos(seconds as u64 * 1_000_000_000 + 0x1eac_a082)));
        assert_eq!(time(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Ok(UnixNanos::NEVER));
        assert!(time(&[3; 15]).is_err() && time(&[1; 5]).is_err() && time(&[]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}

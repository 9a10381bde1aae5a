//! Protocol Buffers at the level of bytes: varints, tags, fields of a message.
//!
//! # Invariants
//!
//! 1. A length is held against the bytes that are there before anything is made of it; reading allocates
//!    nothing.
//! 2. Work is linear in the bytes read. Groups, the only thing on the wire that can nest without end, are
//!    skipped without recursion and to a fixed depth.

pub mod schema;

use std::fmt;

/// How deep groups may nest. Nothing we know of sends any.
const GROUP_DEPTH_MAX: usize = 100;

/// The longest varint: ten bytes hold 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// Why bytes are no message. The texts are those of Go's library, after its unstable blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a length or a message.
    EndOfInput,
    /// A varint of more than 64 bits.
    VarintOverflow,
    /// A string field that is not UTF-8, which not even the reference's decoder minds, but scrapers do.
    NotUtf8,
    /// Anything else.
    Malformed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::EndOfInput => "unexpected EOF",
            Fault::VarintOverflow => "proto: variable length integer overflow",
            Fault::NotUtf8 => "proto: string field contains invalid UTF-8",
            Fault::Malformed => "proto: cannot parse invalid wire-format data",
        })
    }
}

impl std::error::Error for Fault {}

/// What a field holds. A field of another wire type than its declaration says makes the message
/// malformed, so each of the accessors refuses all but its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
    /// A group, already skipped.
    Group,
}

impl<'b> Value<'b> {
    pub fn varint(self) -> Result<u64, Fault> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(Fault::Malformed),
        }
    }

    pub fn double(self) -> Result<f64, Fault> {
        match self {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Fault::Malformed),
        }
    }

    pub fn bytes(self) -> Result<&'b [u8], Fault> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Fault::Malformed),
        }
    }

    pub fn text(self) -> Result<&'b str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Fault::NotUtf8)
    }
}

/// Reads the fields of one message from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value; `None` at the end of the message. Whatever is wrong inside a
    /// message is [`Fault::Malformed`].
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Value<'b>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        Ok(Some((number, self.value(number, wire_type)?)))
    }

    /// The same, and how many bytes of the message are left where the value begins, its length included.
    pub fn placed_field(&mut self) -> Result<Option<(u32, Value<'b>, usize)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let left = self.rest.len();
        Ok(Some((number, self.value(number, wire_type)?, left)))
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn value(&mut self, number: u32, wire_type: u8) -> Result<Value<'b>, Fault> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint().map_err(|_| Fault::Malformed)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.delimited().map_err(|_| Fault::Malformed)?),
            3 => {
                self.skip_group(number)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Fault::Malformed),
        })
    }

    /// Bytes behind their varint length.
    pub fn delimited(&mut self) -> Result<&'b [u8], Fault> {
        let length = self.varint()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
        let (bytes, rest) = self.rest.split_at(length.ok_or(Fault::EndOfInput)?);
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, Fault> {
        // Nearly all tags and lengths are one byte.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for (position, byte) in self.rest.iter().enumerate().take(VARINT_BYTES_MAX) {
            // The tenth byte has room for one bit.
            if position == VARINT_BYTES_MAX - 1 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * position);
            if *byte < 0x80 {
                self.rest = &self.rest[position + 1..];
                return Ok(number);
            }
        }
        Err(if self.rest.len() < VARINT_BYTES_MAX { Fault::EndOfInput } else { Fault::VarintOverflow })
    }

    /// One little-endian double.
    pub fn double(&mut self) -> Result<f64, Fault> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// Passes over `prefix`; false if it is not what comes next.
    pub fn skip(&mut self, prefix: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), Fault> {
        let tag = self.varint().map_err(|_| Fault::Malformed)?;
        // Field numbers have 29 bits.
        let tag = u32::try_from(tag).map_err(|_| Fault::Malformed)?;
        if tag >> 3 == 0 { Err(Fault::Malformed) } else { Ok((tag >> 3, tag as u8 & 7)) }
    }

    /// Skips the fields of the group `number` up to and with its end.
    fn skip_group(&mut self, number: u32) -> Result<(), Fault> {
        let mut open = [0; GROUP_DEPTH_MAX];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint().map_err(|_| Fault::Malformed)?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.delimited().map_err(|_| Fault::Malformed)?),
                3 => {
                    *open.get_mut(depth).ok_or(Fault::Malformed)? = number;
                    depth += 1;
                }
                4 if open[depth - 1] == number => depth -= 1,
                5 => drop(self.array::<4>()?),
                _ => return Err(Fault::Malformed),
            }
        }
        Ok(())
    }
}

/// The number that `sint32` and `sint64` fields write so that small negative ones stay short.
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The other way round.
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Wire types, as tags hold them.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;

pub fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes `number` takes as a varint.
pub fn varint_len(number: u64) -> usize {
    // Seven bits a byte; zero takes one too.
    ((64 - (number | 1).leading_zeros()) as usize).div_ceil(7)
}

pub fn push_varint_field(out: &mut Vec<u8>, field: u32, number: u64) {
    push_varint(out, u64::from(field << 3 | VARINT));
    push_varint(out, number);
}

pub fn push_double_field(out: &mut Vec<u8>, field: u32, value: f64) {
    push_varint(out, u64::from(field << 3 | FIXED64));
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Writes tag and length of a field whose `len` bytes follow.
pub fn push_field_start(out: &mut Vec<u8>, field: u32, len: usize) {
    push_varint(out, u64::from(field << 3 | DELIMITED));
    push_varint(out, len as u64);
}

pub fn push_bytes_field(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_field_start(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// How many bytes a field of `len` bytes takes with its tag and length. Only for field numbers below
/// 16, whose tags are one byte.
pub fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Fault> {
        let mut reader = Reader::new(bytes);
        let mut fields = Vec::new();
        while let Some(field) = reader.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn fields_of_every_wire_type() {
        let bytes = b"\x08\x96\x01\x12\x02ab\x19\x00\x00\x00\x00\x00\x00\xf0\x3f\x25\x01\x00\x00\x00";
        let expected = vec![
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"ab")),
            (3, Value::Fixed64(1f64.to_bits())),
            (4, Value::Fixed32(1)),
        ];
        assert_eq!(fields(bytes), Ok(expected));
        // A group with a field and another group inside, then a field behind it.
        assert_eq!(
            fields(b"\x0b\x10\x05\x1b\x1c\x0c\x10\x01"),
            Ok(vec![(1, Value::Group), (2, Value::Varint(1))])
        );
    }

    #[test]
    fn what_is_no_message() {
        for bytes in [
            &b"\x00\x01"[..],
            b"\x08",
            b"\x0a\x02a",
            b"\x0a\x01",
            b"\x09\x00",
            b"\x0d\x00",
            b"\x0b",
            b"\x0b\x14",
            b"\x0c",
            b"\x0e",
            b"\x0f",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x80\x80\x80\x80\x80\x01\x00",
            &[0x0b; 101],
        ] {
            assert!(fields(bytes).is_err(), "{bytes:x?}");
        }
        let deepest: Vec<u8> = [[0x0b; 100], [0x0c; 100]].concat();
        assert_eq!(fields(&deepest), Ok(vec![(1, Value::Group)]));
    }

    #[test]
    fn lengths_and_varints_say_how_they_fail() {
        assert_eq!(Reader::new(b"").delimited(), Err(Fault::EndOfInput));
        assert_eq!(Reader::new(b"\x80").delimited(), Err(Fault::EndOfInput));
        assert_eq!(Reader::new(b"\x05abc").delimited(), Err(Fault::EndOfInput));
        assert_eq!(Reader::new(&[0xff; 11]).delimited(), Err(Fault::VarintOverflow));
        assert_eq!(
            Reader::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").varint(),
            Err(Fault::VarintOverflow)
        );
        assert_eq!(Reader::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").varint(), Ok(u64::MAX));
    }

    proptest! {
        #[test]
        fn varints_come_back(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            prop_assert_eq!(bytes.len(), varint_len(number));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(number));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn zigzag_is_undone(number: i64) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}

//! Tables from files for `gate.lookup`: read once per generation, shared by all machines.

use std::collections::HashMap;
use std::path::Path;

use super::fault::{Code, Fault};

/// Largest file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What leads from keys to values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookup(HashMap<Box<[u8]>, Box<[u8]>>);

/// Which columns of a CSV file hold keys and values, by the names in its first line; the first and the
/// second if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Columns {
    pub key: Option<String>,
    pub value: Option<String>,
}

/// # Errors
///
/// E_LOAD: the file cannot be read, or is larger than 64 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let fault = |error| Fault::new(Code::Load, format!("cannot read {}: {error}", path.display()));
    if std::fs::metadata(path).map_err(fault)?.len() > FILE_BYTES_MAX {
        return Err(Fault::new(Code::Load, format!("{} is larger than 64 MiB", path.display())));
    }
    std::fs::read(path).map_err(fault)
}

impl Lookup {
    /// Reads a table; JSON if the file's name says so, else CSV.
    ///
    /// # Errors
    ///
    /// E_LOAD: it is not written so, or has a key twice.
    pub fn parse(name: &Path, bytes: &[u8], columns: &Columns) -> Result<Lookup, Fault> {
        let is_json = name.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        let read = if is_json { json(bytes, columns) } else { csv(bytes, columns) };
        read.map_err(|text| Fault::new(Code::Load, format!("{}: {text}", name.display())))
    }

    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(AsRef::as_ref)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn json(bytes: &[u8], columns: &Columns) -> Result<Lookup, String> {
    if *columns != Columns::default() {
        return Err("JSON has no columns".to_owned());
    }
    let pairs: HashMap<String, String> =
        serde_json::from_slice(bytes).map_err(|error| format!("not an object of strings: {error}"))?;
    let pairs = pairs.into_iter();
    Ok(Lookup(pairs.map(|(key, value)| (key.into_bytes().into(), value.into_bytes().into())).collect()))
}

fn csv(bytes: &[u8], columns: &Columns) -> Result<Lookup, String> {
    // Spreadsheets begin their files with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let head = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    let find = |name: &Option<String>, default: usize| match name {
        None => Ok(default),
        Some(name) => {
            let found = head.iter().position(|column| column == name.as_bytes());
            found.ok_or_else(|| format!("there is no column {name}"))
        }
    };
    let (key, value) = (find(&columns.key, 0)?, find(&columns.value, 1)?);
    let mut table = HashMap::new();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| error.to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        let (Some(key), Some(value)) = (record.get(key), record.get(value)) else {
            return Err(format!("line {line} has too few columns"));
        };
        if table.insert(key.into(), value.into()).is_some() {
            return Err(format!("line {line} has the key {:?} again", String::from_utf8_lossy(key)));
        }
    }
    Ok(Lookup(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str, key: Option<&str>, value: Option<&str>) -> Result<Lookup, String> {
        let columns = Columns { key: key.map(Into::into), value: value.map(Into::into) };
        Lookup::parse(Path::new(name), text.as_bytes(), &columns).map_err(|fault| fault.text)
    }

    #[test]
    fn tables_are_read_by_column() {
        let text = "\u{feff}host,team,zone\r\nh1,red,\"a, \"\"b\"\"\"\nh2,blue,c\n";
        let table = parse("x.csv", text, None, None).unwrap();
        assert_eq!((table.get(b"h1"), table.get(b"host"), table.len()), (Some(&b"red"[..]), None, 2));
        let table = parse("x.txt", text, Some("team"), Some("zone")).unwrap();
        assert_eq!(table.get(b"red"), Some(&b"a, \"b\""[..]));
        assert_eq!(parse("x.csv", "", None, None).unwrap().len(), 0);
        let table = parse("x.JSON", r#"{"a": "b", "é": ""}"#, None, None).unwrap();
        assert_eq!((table.get("é".as_bytes()), table.len()), (Some(&b""[..]), 2));
    }

    #[test]
    fn what_is_no_table_is_told() {
        for (name, text, key, expected) in [
            ("x.csv", "a,b\n1,2\n1,3\n", None, "x.csv: line 3 has the key \"1\" again"),
            ("x.csv", "a,b\n1\n", None, "x.csv: line 2 has too few columns"),
            ("x.csv", "a,b\n1,2\n", Some("c"), "x.csv: there is no column c"),
            ("x.json", "{}", Some("c"), "x.json: JSON has no columns"),
        ] {
            assert_eq!(parse(name, text, key, None).unwrap_err(), expected);
        }
        for text in ["", "[]", r#"{"a": 1}"#, r#"{"a": "b"} x"#] {
            assert!(parse("x.json", text, None, None).unwrap_err().contains("not an object of strings"));
        }
    }
}

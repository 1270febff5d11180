//! Reads a log row by row: what is not counted is forgotten, so a file may be larger than memory.

use std::{
    fmt,
    io::{self, BufRead},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::record::{Record, letters};

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows of a provisioning log.
    Log,
    /// The portal's second CSV file: the steps of rows, to be joined by their change id.
    Steps,
}

/// What is to be known of a file beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Graph says that there are more pages (`@odata.nextLink`).
    pub has_more: bool,
    /// Its times are those of somebody's desk, not UTC.
    pub local_times: bool,
    /// Entries that are no rows of a provisioning log.
    pub strange: u64,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum Error {
    /// It cannot be read at all.
    Io(io::Error),
    /// Its JSON is broken, behind so many rows.
    Json(serde_json::Error, u64),
    /// Its CSV is broken, behind so many rows.
    Csv(csv::Error, u64),
    /// It is something else, and what to do about it.
    Other(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it can't be read: {error}"),
            Self::Json(error, rows) => write!(f, "its JSON is broken behind {rows} complete rows: {error}"),
            Self::Csv(error, rows) => {
                let line = error.position().map_or(0, csv::Position::line);
                write!(f, "its CSV is broken behind {rows} complete rows, at line {line}")
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Reads all rows; each is given away as soon as it is there.
pub fn read(mut reader: impl BufRead, row: &mut dyn FnMut(Kind, Record)) -> Result<Facts, Error> {
    let mut first = reader.fill_buf().map_err(Error::Io)?;
    if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
        return Err(Error::Other(
            "it is UTF-16: save it as UTF-8 (PowerShell: Out-File -Encoding utf8)",
        ));
    }
    if first.starts_with(b"PK\x03\x04") {
        return Err(Error::Other("it is a ZIP archive: unpack it, and give the files in it"));
    }
    if first.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
        first = reader.fill_buf().map_err(Error::Io)?;
    }
    let begins = first.iter().find(|byte| !byte.is_ascii_whitespace());
    let facts = match begins {
        None => return Err(Error::Other("it is empty")),
        Some(b'[' | b'{') => json(reader, row)?,
        Some(_) => lines(reader, row)?,
    };
    Ok(facts)
}

/// What a file is, by its beginning: steps are to be read before the rows they belong to.
pub fn kind(head: &[u8]) -> Kind {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if head.trim_ascii_start().starts_with(b"{") || head.trim_ascii_start().starts_with(b"[") {
        return Kind::Log;
    }
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(delimiter(head))
        .flexible(true)
        .from_reader(head);
    csv.byte_headers().map_or(Kind::Log, |header| kind_of(&names(header)))
}

fn names(header: &csv::ByteRecord) -> Vec<String> {
    header
        .iter()
        .map(|name| letters(&String::from_utf8_lossy(name)))
        .collect()
}

fn kind_of(names: &[String]) -> Kind {
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    let has_time = names.iter().any(|name| name.contains("date") || name.contains("time"));
    if has(&["changeid"]) && !has_time && has(&["description", "stepdescription", "details"]) {
        Kind::Steps
    } else {
        Kind::Log
    }
}

/// What a spreadsheet saves depends on the country.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let columns = |byte: u8| line.split(|each| *each == byte).count();
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|byte| columns(*byte))
        .unwrap_or(b',')
}

/// What is neither JSON nor has the columns of a log.
const NO_LOG: Error = Error::Other(
    "nothing in it looks like a provisioning log: give the JSON or CSV of the portal's Download, of Graph's \
     /auditLogs/provisioning, or of the table AADProvisioningLogs",
);

fn json(reader: impl BufRead, row: &mut dyn FnMut(Kind, Record)) -> Result<Facts, Error> {
    let mut rows = Rows {
        row,
        count: 0,
        strange: 0,
        has_more: false,
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    // One document, or one on each line.
    while json.end().is_err() {
        Any(&mut rows)
            .deserialize(&mut json)
            .map_err(|error| Error::Json(error, rows.count))?;
    }
    if rows.count == 0 && rows.strange > 0 {
        return Err(NO_LOG);
    }
    Ok(Facts {
        kind: Kind::Log,
        has_more: rows.has_more,
        local_times: false,
        strange: rows.strange,
    })
}

struct Rows<'r> {
    row: &'r mut dyn FnMut(Kind, Record),
    count: u64,
    strange: u64,
    has_more: bool,
}

impl Rows<'_> {
    fn take(&mut self, value: &Value) {
        let record = Record::of_json(value);
        if record.is_row {
            self.count += 1;
            (self.row)(Kind::Log, record);
        } else {
            self.strange += 1;
        }
    }
}

/// An array of rows, an object around one, or a row.
struct Any<'a, 'r>(&'a mut Rows<'r>);

impl<'de> DeserializeSeed<'de> for Any<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows, or an object with one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Value>()? {
            self.0.take(&value);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            match name.to_ascii_lowercase().as_str() {
                "value" | "records" => map.next_value_seed(Any(self.0))?,
                "@odata.nextlink" => {
                    map.next_value::<IgnoredAny>()?;
                    self.0.has_more = true;
                }
                name if name.starts_with("@odata.") => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    let value = map.next_value()?;
                    fields.insert(name, value);
                }
            }
        }
        if !fields.is_empty() {
            self.0.take(&Value::Object(fields));
        }
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("rows are objects"))
    }
}

/// Longest line: one that is longer was opened with a quotation mark that nothing closes.
const MAX_LINE: usize = 16 * 1024 * 1024;

fn lines(mut reader: impl BufRead, row: &mut dyn FnMut(Kind, Record)) -> Result<Facts, Error> {
    let delimiter = delimiter(reader.fill_buf().map_err(Error::Io)?);
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(reader);
    let names = names(csv.byte_headers().map_err(|error| Error::Csv(error, 0))?);
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    if has(&["changeid"]) && has(&["oldvalue", "newvalue"]) {
        return Err(Error::Other(
            "it lists modified properties, which say nothing about errors: leave it out",
        ));
    }
    let kind = kind_of(&names);
    let (mut count, mut strange) = (0, 0);
    let mut line = csv::ByteRecord::new();
    while csv
        .read_byte_record(&mut line)
        .map_err(|error| Error::Csv(error, count))?
    {
        if line.as_slice().len() > MAX_LINE {
            return Err(Error::Other("a line of it never ends: a quotation mark is not closed"));
        }
        let cells: Vec<_> = line.iter().map(String::from_utf8_lossy).collect();
        let cells = names
            .iter()
            .zip(&cells)
            .map(|(name, cell)| (name.as_str(), cell.as_ref()));
        let record = match kind {
            Kind::Log => Record::of_cells(cells),
            Kind::Steps => Record::of_step(cells),
        };
        if record.is_row {
            count += 1;
            row(kind, record);
        } else {
            strange += 1;
        }
    }
    if count == 0 {
        return Err(NO_LOG);
    }
    Ok(Facts {
        kind,
        has_more: false,
        local_times: names.iter().any(|name| name.ends_with("localtime")),
        strange,
    })
}

//! Lines, written and read: bounded, counted, and with a checksum over all of them.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{End, Error, FORMAT, Line, Missing, Named};
use crate::{rows, store::MAX_BODY_BYTES, tenants::Tenants};

/// Most bytes of a line: a row of which each character is spelled as six.
const MAX_LINE_BYTES: u64 = 6 * MAX_BODY_BYTES as u64 + 64 * 1024;
/// Most tenants of a file: they are remembered while it is read.
const MAX_TENANTS: usize = 1_000_000;
/// What the first line begins with.
const BEGINNING: &[u8] = b"{\"begin\":{\"format\":";
/// Most characters that are shown of what a file says of itself.
const MAX_SHOWN: usize = 300;

/// Where a backup is written.
pub enum Target {
    /// Wherever the process's output goes.
    Output,
    /// A file, which has its name when it is whole, and which only its owner can read.
    File(Partial),
}

/// A file that has another name until it is whole.
pub struct Partial {
    file: File,
    path: PathBuf,
    until_whole: PathBuf,
    is_whole: bool,
}

impl Target {
    /// A new file at this path.
    pub fn file(path: &Path) -> io::Result<Self> {
        if path.try_exists()? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already, and is not overwritten", path.display()),
            ));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{:08x}.partial", fastrand::u32(..)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self::File(Partial {
            file: options.open(&partial)?,
            path: path.to_owned(),
            until_whole: partial,
            is_whole: false,
        }))
    }

    fn finish(self) -> io::Result<()> {
        let Self::File(mut partial) = self else { return Ok(()) };
        partial.file.sync_all()?;
        fs::rename(&partial.until_whole, &partial.path)?;
        partial.is_whole = true;
        // So that the name outlasts a loss of power too; not every system lets a folder be opened.
        if let Some(folder) = partial.path.parent()
            && let Ok(folder) = File::open(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            })
        {
            folder.sync_all()?;
        }
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output => io::stdout().write(bytes),
            Self::File(partial) => partial.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Output => io::stdout().flush(),
            Self::File(partial) => partial.file.flush(),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.until_whole);
        }
    }
}

type Digest256 = [u8; 32];

/// What was written or read so far.
#[derive(Default)]
struct Sum {
    hash: Sha256,
    lines: u64,
    rows: u64,
    tenants: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8], line: &Line) {
        self.hash.update(bytes);
        self.lines += 1;
        self.rows += u64::from(matches!(line, Line::Row(_) | Line::Control(_) | Line::Log(_)));
        self.tenants += u64::from(matches!(line, Line::Tenant(_)));
    }

    fn end(&self) -> End {
        End {
            tenants: self.tenants,
            rows: self.rows,
            lines: self.lines,
            sha256: HEXLOWER.encode(&self.digest()),
        }
    }

    fn digest(&self) -> Digest256 {
        self.hash.clone().finalize().into()
    }
}

pub(super) struct Writer {
    out: BufWriter<Target>,
    sum: Sum,
}

impl Writer {
    pub(super) fn new(target: Target) -> Self {
        Self {
            out: BufWriter::new(target),
            sum: Sum::default(),
        }
    }

    pub(super) fn line(&mut self, line: &Line) -> io::Result<()> {
        let bytes = spelled(line);
        self.out.write_all(&bytes)?;
        self.sum.add(&bytes, line);
        Ok(())
    }

    pub(super) fn rows(&self) -> u64 {
        self.sum.rows
    }

    /// Writes the last line.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let end = self.sum.end();
        self.out.write_all(&spelled(&Line::End(end)))?;
        self.out.flush()?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
    }
}

fn spelled(line: &Line) -> Vec<u8> {
    let mut bytes = rows::encode(line);
    bytes.push(b'\n');
    bytes
}

/// Whether a file begins as a backup does. It is read from its beginning then.
///
/// # Errors
///
/// When it can't be read.
pub fn is_one(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut first = Vec::new();
    file.take(BEGINNING.len() as u64).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(first == BEGINNING)
}

/// A backup that is whole, as far as it was when it was looked at.
pub(super) struct Survey {
    /// One for each line that begins a tenant.
    pub(super) parts: Vec<Part>,
    /// Tenants that could not be read.
    pub(super) missing: Vec<Missing>,
    pub(super) end: End,
    /// What was read up to lines that end a tenant's part, by their numbers.
    sums: BTreeMap<u64, Digest256>,
}

/// What there is of a tenant.
pub(super) struct Part {
    /// As it was called at the end.
    pub(super) tenant: Named,
    /// Its own row is among the others.
    pub(super) is_there: bool,
}

impl Survey {
    /// Reads a whole file, and believes none of it that its last line does not confirm. It is to be read again then.
    pub(super) fn of(file: File) -> Result<(Self, Reader), Error> {
        let mut reader = Reader::new(file);
        let Some(Line::Begin(begin)) = reader.next()? else {
            return Err(reader.broken("it does not begin as a backup of scimgate does"));
        };
        if begin.format > FORMAT || begin.rows > rows::FORMAT {
            return Err(Error::Newer(shown(&begin.version)));
        }
        let (mut parts, mut missing, mut sums) = (Vec::new(), Vec::new(), BTreeMap::new());
        let end = loop {
            let line = reader.next()?;
            sums.extend(reader.ends.map(|sum| (reader.number, sum)));
            match line {
                None => return Err(reader.broken("the file ends without its last line: it was cut off")),
                Some(Line::Begin(_)) => return Err(reader.broken("a second beginning")),
                Some(Line::Tenant(_) | Line::Missing(_)) if parts.len() + missing.len() >= MAX_TENANTS => {
                    return Err(reader.broken("too many tenants"));
                }
                Some(Line::Tenant(tenant)) => parts.push(Part::begin(tenant, &reader)?),
                Some(Line::Missing(Missing { name, why })) => missing.push(Missing {
                    name: shown(&name),
                    why: shown(&why),
                }),
                Some(Line::Control(row)) => match parts.last_mut() {
                    Some(part) => part.meet(&row.key, &reader)?,
                    None => return Err(reader.broken("a row of no tenant")),
                },
                Some(Line::Row(_) | Line::Clear(_)) if parts.is_empty() => {
                    return Err(reader.broken("a row of no tenant"));
                }
                Some(Line::Row(_) | Line::Clear(_) | Line::Log(_) | Line::Kept(_)) => {}
                Some(Line::End(end)) => break end,
            }
        };
        if end != reader.sum.end() {
            return Err(reader.broken("it does not confirm what is before it: something was changed or lost"));
        }
        if reader.read()?.is_some() {
            return Err(reader.broken("something follows the end"));
        }
        let survey = Self {
            parts,
            missing,
            end,
            sums,
        };
        Ok((survey, reader.again()?))
    }

    /// Fails where a file is another one than when it was looked at.
    pub(super) fn confirm(&self, reader: &Reader, line: &Line) -> Result<(), Error> {
        let is_same = reader
            .ends
            .is_none_or(|sum| self.sums.get(&reader.number) == Some(&sum));
        let ends_alike = !matches!(line, Line::End(end) if *end != self.end);
        if is_same && ends_alike {
            return Ok(());
        }
        Err(reader.broken("the file was changed while it was read"))
    }
}

impl Part {
    fn begin(tenant: Named, reader: &Reader) -> Result<Self, Error> {
        if !tenant.may_be() {
            return Err(reader.broken("that is no tenant's id and name"));
        }
        let is_there = false;
        Ok(Self { tenant, is_there })
    }

    /// A row of the control partition.
    fn meet(&mut self, key: &str, reader: &Reader) -> Result<(), Error> {
        if let Some(name) = Tenants::name_in(key) {
            name.clone_into(&mut self.tenant.name);
            self.is_there = true;
            if !self.tenant.may_be() {
                return Err(reader.broken("that is no tenant's name"));
            }
        }
        Ok(())
    }
}

/// A text of the file, for people.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

pub(super) struct Reader {
    lines: BufReader<File>,
    /// Of what was read, but for the last line if it is the end.
    sum: Sum,
    /// The number of the line that was read last, from 1.
    pub(super) number: u64,
    /// It is of a tenant.
    is_inside: bool,
    /// What was read so far, if a tenant's part ends or begins with the last line.
    ends: Option<Digest256>,
}

impl Reader {
    fn new(file: File) -> Self {
        Self {
            lines: BufReader::new(file),
            sum: Sum::default(),
            number: 0,
            is_inside: false,
            ends: None,
        }
    }

    fn again(self) -> io::Result<Self> {
        let mut file = self.lines.into_inner();
        file.rewind()?;
        Ok(Self::new(file))
    }

    /// The next line; nothing at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Error> {
        self.ends = None;
        let Some(bytes) = self.read()? else { return Ok(None) };
        // What serde says of it could quote the line.
        let line: Line = serde_json::from_slice(&bytes).map_err(|_| self.broken("it is none of a backup's lines"))?;
        if !matches!(line, Line::End(_)) {
            self.sum.add(&bytes, &line);
        }
        let is_end = matches!(line, Line::Tenant(_) | Line::End(_)) || (self.is_inside && line.is_of_none());
        self.ends = is_end.then(|| self.sum.digest());
        self.is_inside = matches!(line, Line::Tenant(_)) || (self.is_inside && !line.is_of_none());
        Ok(Some(line))
    }

    pub(super) fn broken(&self, why: &str) -> Error {
        Error::Broken(self.number, why.to_owned())
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.lines).take(MAX_LINE_BYTES);
        if bounded.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() != Some(&b'\n') {
            return Err(self.broken("it is cut off, or longer than any row"));
        }
        Ok(Some(bytes))
    }
}

impl Line {
    /// It ends what is said of a tenant.
    pub(super) fn is_of_none(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Kept(_) | Self::Missing(_) | Self::End(_))
    }
}

/// A file that was changed, with a last line that confirms it.
#[cfg(test)]
pub(crate) fn sealed(text: &str) -> String {
    let mut sum = Sum::default();
    let mut sealed = String::new();
    for bytes in text.split_inclusive('\n') {
        let line: Line = serde_json::from_str(bytes).expect("a line");
        if !matches!(line, Line::End(_)) {
            sum.add(bytes.as_bytes(), &line);
            sealed.push_str(bytes);
        }
    }
    let end = spelled(&Line::End(sum.end()));
    sealed + std::str::from_utf8(&end).expect("text")
}

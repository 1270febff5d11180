//! A file as lines, each bounded, each with its place.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Bytes of one line: a group with a hundred thousand members as other services write them takes some 15 MB.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;
/// Lines of a file.
const MAX_LINES: u32 = u32::MAX - 1;
/// Some editors put it before the text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const BUFFER: usize = 256 * 1024;

/// One line that is not empty.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1, empty ones too.
    pub(super) number: u32,
    /// Where it begins.
    pub(super) offset: u64,
    /// Without its end; nothing if it is too long.
    pub(super) text: Option<Vec<u8>>,
}

impl Line {
    pub(super) fn bytes(&self) -> usize {
        self.text.as_ref().map_or(0, Vec::len)
    }
}

/// A file that is read line by line, and again.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    number: u32,
    offset: u64,
}

impl<R: Read + Seek> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            number: 0,
            offset: 0,
        }
    }

    /// Goes back, or ahead, to a line that was read.
    pub(super) fn go_to(&mut self, number: u32, offset: u64) -> io::Result<()> {
        match i64::try_from(i128::from(offset) - i128::from(self.offset)) {
            Ok(0) => {}
            Ok(by) => self.input.seek_relative(by)?,
            Err(_) => _ = self.input.seek(SeekFrom::Start(offset))?,
        }
        (self.number, self.offset) = (number - 1, offset);
        Ok(())
    }

    /// Begins anew; what is read of the bytes themselves, no line knows of.
    pub(super) fn restart(&mut self) -> io::Result<&mut BufReader<R>> {
        self.input.rewind()?;
        (self.number, self.offset) = (0, 0);
        Ok(&mut self.input)
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let offset = self.offset;
            let mut text = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.offset += read as u64;
            if self.number == MAX_LINES {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too many lines"));
            }
            self.number += 1;
            let is_long = read > MAX_LINE_BYTES && text.last() != Some(&b'\n');
            if is_long {
                self.skip()?;
            }
            if offset == 0 && text.starts_with(BYTE_ORDER_MARK) {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            if is_long || !text.trim_ascii().is_empty() {
                return Ok(Some(Line {
                    number: self.number,
                    offset,
                    text: (!is_long).then_some(text),
                }));
            }
        }
    }

    /// To the end of a line.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let (bytes, is_end) = (
                end.map_or(buffer.len(), |end| end + 1),
                end.is_some() || buffer.is_empty(),
            );
            self.input.consume(bytes);
            self.offset += bytes as u64;
            if is_end {
                return Ok(());
            }
        }
    }
}

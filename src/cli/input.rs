//! Files that commands read.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

/// A file that can be read twice. What comes through a pipe is put into one that has no name, and is gone with the process;
/// `-` is standard input.
pub(super) fn twice(path: &Path) -> io::Result<File> {
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path)?;
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Box::new(file)
    };
    let mut spooled = tempfile::tempfile()?;
    io::copy(&mut input, &mut spooled)?;
    spooled.rewind()?;
    Ok(spooled)
}

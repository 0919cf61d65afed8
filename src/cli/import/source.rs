//! The bytes of a file, to be read several times.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Longest row, in bytes. All the texts of a row together fit many times; beyond it a
/// quote was left open, and the rest of the file would be taken for one cell.
const ROW_BYTES_MAX: usize = 64 << 10;

/// Bytes of the digest that are shown: enough that two files never share them.
const DIGEST_SHOWN_BYTES: usize = 16;

/// A file that is open. What takes its name meanwhile is another file.
#[derive(Debug)]
pub(super) struct Source(File);

impl Source {
    /// Opens a file; `-` and whatever cannot be read twice is copied first.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::copy(io::stdin().lock());
        }
        let file = File::open(path)?;
        if file.metadata()?.is_file() {
            Ok(Self(file))
        } else {
            Self::copy(file)
        }
    }

    fn copy(mut from: impl Read) -> io::Result<Self> {
        // It has no name, and is gone with the process.
        let mut copy = tempfile::tempfile()?;
        io::copy(&mut from, &mut copy)?;
        Ok(Self(copy))
    }

    /// Its bytes from the first on. One reader at a time.
    pub(super) fn again(&self) -> io::Result<Bytes> {
        let mut file = self.0.try_clone()?;
        file.rewind()?;
        Ok(Bytes {
            file,
            digest: Sha256::new(),
            row_bytes: 0,
        })
    }
}

/// The bytes of a file while they are read.
#[derive(Debug)]
pub(super) struct Bytes {
    file: File,
    digest: Sha256,
    /// Bytes read since the present row began, those of the reader's buffer included.
    row_bytes: usize,
}

impl Bytes {
    /// A row begins.
    pub(super) fn begin_row(&mut self) {
        self.row_bytes = 0;
    }

    /// What tells this file from any other, once all of it has been read.
    pub(super) fn digest(&self) -> String {
        let digest = self.digest.clone().finalize();
        let shown = digest.iter().take(DIGEST_SHOWN_BYTES);
        shown.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.row_bytes > ROW_BYTES_MAX {
            let why = format!("must have at most {ROW_BYTES_MAX} bytes; is a quote left open?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.row_bytes += count;
        Ok(count)
    }
}

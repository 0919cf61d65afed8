//! The bytes of a file, to be read several times.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

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
        })
    }
}

/// The bytes of a file while they are read.
#[derive(Debug)]
pub(super) struct Bytes {
    file: File,
    digest: Sha256,
}

impl Bytes {
    /// What tells this file from any other, once all of it has been read.
    pub(super) fn digest(&self) -> String {
        let digest = self.digest.clone().finalize();
        let shown = digest.iter().take(DIGEST_SHOWN_BYTES);
        shown.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

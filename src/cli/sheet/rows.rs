//! The rows of a file, each with the line that it begins on.
//!
//! The csv crate tells neither: it takes the line of a row before the blank lines ahead of
//! it and counts no CR (<https://github.com/BurntSushi/rust-csv/issues/395>), and a quote that
//! is left open ends for it where the file ends. So the bytes are looked at on their way to
//! it, by its own grammar: a quote opens a cell only as its first byte, a doubled one stays
//! within, and a row ends at CR, LF or both. Memory is that of one buffer.

use std::collections::VecDeque;
use std::io::{self, Read};

use anyhow::Context;

use super::bad::Problem;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Longest row, in bytes. All the texts of a row together fit many times; beyond it a
/// quote was left open, and the rest of the file would be taken for one cell.
const ROW_BYTES_MAX: usize = 64 << 10;

/// What a file of UTF-8 may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows of a file while it is read.
pub(in crate::cli) struct Rows<R> {
    reader: csv::Reader<Lines<R>>,
}

impl<R: Read> Rows<R> {
    /// Reads the header and has it understood.
    ///
    /// # Errors
    /// It is not, or the file cannot be read.
    pub(in crate::cli) fn open<C>(
        bytes: R,
        understand: impl FnOnce(&csv::ByteRecord) -> anyhow::Result<C>,
    ) -> anyhow::Result<(Self, C)> {
        let mut reader = csv::ReaderBuilder::new();
        reader.has_headers(false).buffer_capacity(BUFFER_BYTES);
        // A row of another length is a bad row, which is told with the others.
        let reader = reader.flexible(true).from_reader(Lines::of(bytes));
        let (mut rows, mut header) = (Self { reader }, csv::ByteRecord::new());
        let line = rows.next(&mut header)?.unwrap_or(1);
        let columns = understand(&header).with_context(|| format!("line {line}"))?;
        Ok((rows, columns))
    }

    /// Reads the next row, if there is one, and tells the line that it begins on.
    ///
    /// # Errors
    /// The file cannot be read any further.
    pub(in crate::cli) fn next(
        &mut self,
        row: &mut csv::ByteRecord,
    ) -> Result<Option<u64>, Problem> {
        let read = self.reader.read_byte_record(row);
        let lines = self.reader.get_mut();
        // Between rows none has begun.
        let line = lines.begun.pop_front().unwrap_or(lines.line);
        match read {
            Ok(there) => Ok(there.then_some(line)),
            Err(error) => Err(Problem::of_row(line, error.to_string())),
        }
    }

    /// What the rows are read from.
    pub(in crate::cli) fn bytes(&self) -> &R {
        &self.reader.get_ref().bytes
    }
}

/// Bytes on their way to the reader, with the lines that rows begin on.
struct Lines<R> {
    bytes: R,
    /// Nothing has been read.
    at_start: bool,
    place: Place,
    /// The line of the next byte, from 1.
    line: u64,
    /// An LF that comes now ends the same line.
    after_cr: bool,
    /// Bytes of the present row so far.
    row_bytes: usize,
    /// The lines of the rows that have begun and were not asked for yet: those of a buffer.
    begun: VecDeque<u64>,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    BetweenRows,
    CellBegins,
    /// In a cell without quotes, or behind the closing one.
    Bare,
    Quoted,
    /// Behind a quote within quotes, which closes them or is the first of two.
    AfterQuote,
}

impl<R> Lines<R> {
    fn of(bytes: R) -> Self {
        Self {
            bytes,
            at_start: true,
            place: Place::BetweenRows,
            line: 1,
            after_cr: false,
            row_bytes: 0,
            begun: VecDeque::new(),
        }
    }

    fn pass(&mut self, byte: u8) {
        use Place::{AfterQuote, Bare, BetweenRows, CellBegins, Quoted};
        let ends_line = matches!(byte, b'\r' | b'\n');
        if self.place == BetweenRows && !ends_line {
            self.begun.push_back(self.line);
        }
        self.place = match (self.place, byte) {
            (Quoted, b'"') => AfterQuote,
            (Quoted, _) | (AfterQuote, b'"') => Quoted,
            (_, b'\r' | b'\n') => BetweenRows,
            (_, b',') => CellBegins,
            (BetweenRows | CellBegins, b'"') => Quoted,
            _ => Bare,
        };
        self.row_bytes = match self.place {
            BetweenRows => 0,
            _ => self.row_bytes + 1,
        };
        self.line += u64::from(ends_line && !(byte == b'\n' && self.after_cr));
        self.after_cr = byte == b'\r';
    }
}

impl<R: Read> Read for Lines<R> {
    /// All rows that ended before have been asked for when more is read, so that an error
    /// is one of the row that has begun.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        if self.row_bytes > ROW_BYTES_MAX {
            let why = format!("must have at most {ROW_BYTES_MAX} bytes; is a quote left open?");
            return Err(broken(why));
        }
        let count = self.bytes.read(buffer)?;
        if count == 0 && self.place == Place::Quoted {
            return Err(broken("a quote is left open".to_owned()));
        }
        let mut read = &buffer[..count];
        if self.at_start {
            // As the csv crate does.
            read = read.strip_prefix(BYTE_ORDER_MARK).unwrap_or(read);
        }
        self.at_start = false;
        read.iter().for_each(|byte| self.pass(*byte));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that rows begin on, the header left out, and what ended them too soon.
    fn lines(text: &str) -> (Vec<u64>, Option<String>) {
        let opened = Rows::open(text.as_bytes(), |header| Ok(header.len()));
        let (mut rows, _) = opened.expect("a header");
        let (mut lines, mut row) = (Vec::new(), csv::ByteRecord::new());
        loop {
            match rows.next(&mut row) {
                Ok(None) => return (lines, None),
                Ok(Some(line)) => lines.push(line),
                Err(problem) => return (lines, Some(problem.to_string())),
            }
        }
    }

    #[test]
    fn a_row_begins_on_its_line_whatever_ends_lines_and_however_many_are_blank() {
        let text = "\n\na,b\n\n\n1,\"x\ny\"\n\n3,4\n5,6";
        let expected = vec![6, 9, 10];
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            assert_eq!(lines(&text), (expected.clone(), None), "{text:?}");
            let marked = format!("\u{feff}{text}");
            assert_eq!(lines(&marked), (expected.clone(), None), "{marked:?}");
        }
        // A header that ends otherwise than the rows.
        assert_eq!(lines("a,b\r1,2\r\n3,4\n5,6\n"), (vec![2, 3, 4], None));
        assert_eq!(lines("a,b\n1,2\r\n\r\n3,4\r\n"), (vec![2, 4], None));
        // More rows than a buffer has.
        let many = format!("a,b\n{}", "1,\"\n2\"\r\n\n".repeat(20_000));
        let (found, ended) = lines(&many);
        assert!(
            (2..)
                .step_by(3)
                .zip(&found)
                .all(|(line, found)| line == *found)
        );
        assert_eq!((found.len(), ended), (20_000, None));
    }

    #[test]
    fn a_quote_that_is_left_open_is_told_by_the_line_of_its_row() {
        let open = |line: u64| Some(format!("line {line}: a quote is left open"));
        assert_eq!(lines("a,b\n1,2\n3,\"4\n5,6\n"), (vec![2], open(3)));
        assert_eq!(lines("a,b\n1,2\n\n\"3\"\"\n5,6\n"), (vec![2], open(4)));
        assert_eq!(lines("\u{feff}\"a\",b\n\"1"), (vec![], open(2)));
        let long = format!("a,b\n1,2\n3,\"4{}", "5,6\n".repeat(100_000));
        let (found, ended) = lines(&long);
        assert_eq!(found, [2]);
        let ended = ended.expect("a row without an end");
        assert!(
            ended.starts_with("line 3: must have at most 65536 bytes"),
            "{ended}"
        );
        // These are not.
        for closed in [
            "3,\"4\"",
            "3,\"4\"\"\"\n",
            "3,4\"\n",
            "3, \"4\n",
            "3,\"4\"x\"\n",
        ] {
            let text = format!("a,b\n{closed}");
            assert_eq!(lines(&text), (vec![2], None), "{closed}");
        }
        let header = Rows::open(&b"a,\"b\n1,2\n"[..], |header| Ok(header.len()));
        let told = header.err().map(|error| error.to_string());
        assert_eq!(told, open(1));
    }
}

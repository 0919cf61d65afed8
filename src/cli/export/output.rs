//! Where an export goes, and how far it has come.
//!
//! A file is written page by page. Beside it, until it is complete, lies a file that says
//! how many bytes of it are whole and where the next page begins: an export that goes on
//! cuts the file there and writes from there, so that no row is torn, missing or twice.
//! The bytes are on disk before the place is, and the place is before it counts, so that
//! this holds when the machine dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::Selection;
use crate::cli::print::tell;
use crate::cli::progress::Progress;

/// How often the place is written down: what is lost with a process that is killed is
/// read again, and more often would cost more than that.
const PLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the next page begins, if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The token of a list's page; empty for the first one, and after the last.
    pub(super) page_token: String,
    /// Whether the list's last page has been written.
    #[serde(default)]
    pub(super) done: bool,
    /// Of movements: the level of that page that is under way, and its last version written.
    pub(super) level: Option<(String, String, i64)>,
}

/// What is written beside a file that is not complete.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    selection: Selection,
    place: Place,
    /// Whole bytes of the file.
    bytes: u64,
    /// Rows in them, the header left out.
    rows: u64,
}

/// An export that is under way.
#[derive(Debug)]
pub(super) struct Output {
    sink: Sink,
    progress: Progress,
    place: Place,
    bytes: u64,
    rows: u64,
    /// When the place was written down last.
    noted: Instant,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    File {
        file: BufWriter<File>,
        path: PathBuf,
        selection: Selection,
    },
}

impl Place {
    /// After a page of a list that came with the token of the next one.
    pub(super) fn after_page(next_page_token: &str) -> Self {
        Self {
            page_token: next_page_token.to_owned(),
            done: next_page_token.is_empty(),
            level: None,
        }
    }
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self::new(Sink::Stdout, Place::default(), 0, 0)
    }

    /// Begins a file, whatever is there.
    pub(super) fn create(path: PathBuf, selection: Selection) -> anyhow::Result<Self> {
        // A place beside what cannot be written would stay there.
        if let Ok(there) = fs::metadata(&path) {
            ensure!(there.is_file(), "{}: it is no file", cannot_write(&path));
            let file = OpenOptions::new().write(true).open(&path);
            file.with_context(|| cannot_write(&path))?;
        }
        let state = State {
            selection,
            place: Place::default(),
            bytes: 0,
            rows: 0,
        };
        // Before the file: one without a place beside it is complete.
        let written = state.write(&path);
        written.with_context(|| cannot_write(&path))?;
        Self::at(path, state)
    }

    /// Begins a file that is not there yet, or goes on with one that is not complete.
    pub(super) fn open(path: PathBuf, selection: Selection, resume: bool) -> anyhow::Result<Self> {
        let name = path.display();
        match State::read(&path)? {
            Some(state) if resume => {
                if state.selection != selection {
                    bail!(
                        "{name} was begun with other arguments; give the same ones, or --overwrite"
                    );
                }
                Self::at(path, state)
            }
            Some(_) => {
                bail!("{name} is not complete: --resume goes on with it, --overwrite begins anew")
            }
            None if path.exists() && resume => {
                bail!(
                    "{name} is complete, or was not written by an export; --overwrite replaces it"
                )
            }
            None if path.exists() => bail!("{name} is there already; --overwrite replaces it"),
            None => Self::create(path, selection),
        }
    }

    fn at(path: PathBuf, state: State) -> anyhow::Result<Self> {
        let name = path.display();
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&path);
        let mut file = file.with_context(|| cannot_write(&path))?;
        let there = file.metadata()?.len();
        if there < state.bytes {
            bail!(
                "{name} has {there} bytes and should have {}; --overwrite begins anew",
                state.bytes
            );
        }
        file.set_len(state.bytes)?;
        file.seek(io::SeekFrom::End(0))?;
        if state.rows > 0 {
            tell(format_args!("going on after {} rows of {name}", state.rows));
        }
        let State {
            selection,
            place,
            bytes,
            rows,
        } = state;
        let file = BufWriter::new(file);
        let sink = Sink::File {
            file,
            path,
            selection,
        };
        Ok(Self::new(sink, place, bytes, rows))
    }

    fn new(sink: Sink, place: Place, bytes: u64, rows: u64) -> Self {
        Self {
            sink,
            progress: Progress::counting("rows"),
            place,
            bytes,
            rows,
            noted: Instant::now(),
        }
    }

    /// Where the next page begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the header has been written.
    pub(super) fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Writes so many whole rows; the next ones begin at `next`.
    pub(super) fn write(&mut self, bytes: &[u8], rows: usize, next: Place) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            Sink::File { file, path, .. } => {
                let written = file.write_all(bytes);
                written.with_context(|| cannot_write(path))?;
            }
        }
        self.bytes += bytes.len() as u64;
        self.rows += rows as u64;
        self.place = next;
        self.progress.advance(rows);
        if self.noted.elapsed() >= PLACE_INTERVAL {
            self.note()?;
        }
        Ok(())
    }

    /// Writes down the place.
    fn note(&mut self) -> anyhow::Result<()> {
        if let Sink::File {
            file,
            path,
            selection,
        } = &mut self.sink
        {
            let state = State {
                selection: selection.clone(),
                place: self.place.clone(),
                bytes: self.bytes,
                rows: self.rows,
            };
            let written = file.flush().and_then(|()| file.get_ref().sync_data());
            let written = written.and_then(|()| state.write(path));
            written.with_context(|| cannot_write(path))?;
        }
        self.noted = Instant::now();
        Ok(())
    }

    /// The end of an export that has everything.
    pub(super) fn complete(mut self) -> anyhow::Result<()> {
        if let Sink::File { file, path, .. } = &mut self.sink {
            let written = file.flush().and_then(|()| file.get_ref().sync_all());
            let written = written.and_then(|()| fs::remove_file(state_path(path)));
            written.with_context(|| cannot_write(path))?;
        }
        self.progress.finish();
        Ok(())
    }

    /// The end of one that has not: says what is in the file, where there is one.
    pub(super) fn incomplete(mut self) -> Option<String> {
        // A disk that takes no more has the place that was written down last.
        let noted = self.note();
        self.progress.finish();
        let Sink::File { path, .. } = &self.sink else {
            return None;
        };
        Some(match noted {
            Ok(()) => format!("{} rows are in {}", self.rows, path.display()),
            Err(_) => format!("a part is in {}", path.display()),
        })
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn state_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".resume");
    PathBuf::from(name)
}

impl State {
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let path = state_path(path);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text,
        };
        let name = path.display();
        let text = text.with_context(|| format!("cannot read {name}"))?;
        let state = serde_json::from_slice(&text);
        let state = state.with_context(|| format!("{name} is none of ours"))?;
        Ok(Some(state))
    }

    /// In one step, so that there is never half of it, whenever the machine dies.
    fn write(&self, path: &Path) -> io::Result<()> {
        let path = state_path(path);
        let mut draft = path.clone().into_os_string();
        draft.push(".new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(draft, &path)?;
        // Its name, too, before the export has one: alone that would be complete. Some
        // systems sync no folder, and keep names by themselves.
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let _ = folder.and_then(|folder| folder.sync_all());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_after_the_last_page_is_not_that_of_the_first() {
        let after_the_last = Place::after_page("");
        assert_eq!(after_the_last.page_token, Place::default().page_token);
        let read = |place: &Place| -> Place {
            let text = serde_json::to_vec(place).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        assert!(read(&after_the_last).done);
        assert!(!read(&Place::after_page("next")).done);
        assert!(!read(&Place::default()).done);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/levels.csv");
        let selection = Selection {
            what: crate::cli::export::What::Levels,
            sku_prefix: String::new(),
            level: None,
            after: 0,
        };
        let error = Output::create(path.clone(), selection).expect_err("no folder");
        assert_eq!(
            error.to_string(),
            format!("cannot write {}", path.display())
        );
    }
}

//! The reader as a child process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::reader::{Finished, Said, Spec, Window, told};
use crate::support::cpu;
use crate::support::servers::stockroom::{Running, command};

/// What a busy reader may take to notice that it is told something.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Above the reader's own patience for last values, with many streams to check.
const FINISH_LIMIT: Duration = Duration::from_secs(60);

/// A reader in a process of its own. Killed if it is dropped before it has finished.
pub(crate) struct Reader {
    child: Running,
    tell: ChildStdin,
    said: mpsc::Receiver<anyhow::Result<Said>>,
}

impl Reader {
    /// Starts this executable as the reader that `spec` describes.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(folder: &Path, spec: &Spec) -> anyhow::Result<Self> {
        let mut reader = command(std::env::current_exe()?, folder);
        let child = reader
            .arg("--reader")
            .arg(serde_json::to_string(spec)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut child = Running(child);
        let tell = child.0.stdin.take().context("stdin is piped")?;
        let said = follow(child.0.stdout.take().context("stdout is piped")?);
        Ok(Self { child, tell, said })
    }

    /// Waits until all its streams are synced, again if they have been before. Says when,
    /// in microseconds of 1970.
    ///
    /// # Errors
    /// It takes longer than `limit`, or the reader ended.
    pub(crate) fn synced(&self, limit: Duration) -> anyhow::Result<i64> {
        match self.next(limit).context("the streams are not synced")? {
            Said::Synced { at_us } => Ok(at_us),
            other => bail!("the reader said something else: {other:?}"),
        }
    }

    /// Lets it count for so long.
    ///
    /// # Errors
    /// The reader ended.
    pub(crate) fn window(&mut self, measured: Duration) -> anyhow::Result<Window> {
        self.tell(told::BEGIN)?;
        thread::sleep(measured);
        self.tell(told::END)?;
        loop {
            match self.next(ANSWER_LIMIT)? {
                Said::Window(window) => return Ok(window),
                // Streams may have ended and come back in the meantime.
                Said::Synced { .. } => {}
                other => bail!("the reader said something else: {other:?}"),
            }
        }
    }

    /// The times of its snapshots in milliseconds, and the levels of each.
    ///
    /// # Errors
    /// They take longer than `limit`, or the reader ended.
    pub(crate) fn snapshots(&self, limit: Duration) -> anyhow::Result<(Vec<f64>, usize)> {
        match self.next(limit)? {
            Said::Snapshots { ms, levels } => Ok((ms, levels)),
            other => bail!("the reader said something else: {other:?}"),
        }
    }

    /// Lets it check everything against the truth in the file, if there is one.
    ///
    /// # Errors
    /// It does not end well or in time.
    pub(crate) fn finish(mut self, truth: Option<&Path>) -> anyhow::Result<Finished> {
        match truth {
            None => self.tell(told::FINISH)?,
            Some(file) => self.tell(&format!("{} {}", told::FINISH, file.display()))?,
        }
        let finished = loop {
            match self.next(FINISH_LIMIT)? {
                Said::Finished(finished) => break finished,
                Said::Synced { .. } => {}
                other => bail!("the reader said something else: {other:?}"),
            }
        };
        let status = self.child.0.wait()?;
        ensure!(status.success(), "the reader ended with {status}");
        Ok(finished)
    }

    /// Processor time used so far.
    ///
    /// # Errors
    /// The reader ended.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::used(self.child.0.id())
    }

    fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.tell, "{line}").context("the reader has ended")
    }

    fn next(&self, limit: Duration) -> anyhow::Result<Said> {
        let said = self.said.recv_timeout(limit);
        said.with_context(|| format!("the reader said nothing for {limit:?}"))?
    }
}

fn follow(stdout: ChildStdout) -> mpsc::Receiver<anyhow::Result<Said>> {
    let (send, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let parsed = serde_json::from_str(&line).with_context(|| line.clone());
            // An error means that nobody waits any more.
            let _ = send.send(parsed);
        }
    });
    said
}

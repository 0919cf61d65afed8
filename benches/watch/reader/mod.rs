//! The reader: streams on connections, every message of them checked.
//!
//! Runs in a process of its own, this executable started again, and on one thread, so
//! that a message wakes nobody else's core. Each message is decoded once, checked by
//! the auditor that the tests use, and counted; that is all that it costs. Says when all
//! streams are synced, what came while it was measured, and in the end, when it is told
//! the truth, whether every promise was kept.

mod said;
mod snapshots;
mod tally;
mod truth;
mod watcher;

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use stockroom::client::history::{Ledger, Report};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

pub(crate) use said::{Finished, Keep, Lag, Said, Spec, Window, Work, told};

use self::tally::{Lags, Tally};
use self::truth::Truth;
use self::watcher::{Line, Watcher, lock, watch};
use crate::support::clock::Clock;

/// What a stream is granted: about twenty messages. Whoever wants the newest value and not
/// all of them grants little, since what is under way can be folded no more; with HTTP/2's
/// usual 64 KiB a flood would be seconds old when it is read.
const STREAM_WINDOW_BYTES: u32 = 1_024;

/// The most that HTTP/2 can grant a connection. Its streams' windows bound what is under
/// way; this one is so large for what h2 derives from it: a client that has not read
/// small frames (below 256 bytes) of which the missing bytes come to half of it cuts the
/// connection (`too_many_data_frames`, since 0.4.16). With the usual 64 KiB some 160
/// changes on all streams together would do.
const CONNECTION_WINDOW_BYTES: u32 = i32::MAX as u32;

/// How long last values may take to come when all is quiet. What has not come by then
/// is a violation.
const LAST_VALUES_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked whether they have.
const LAST_VALUES_INTERVAL: Duration = Duration::from_millis(50);

/// Violations that are told in words.
const EXAMPLES_MAX: usize = 5;

/// What all streams share.
struct Shared {
    clock: Clock,
    tally: Mutex<Tally>,
}

impl Shared {
    fn all_synced(&self, at: Duration) {
        let at_us = self.clock.us(at);
        say(&Said::Synced { at_us });
    }
}

/// Does what `spec` says.
///
/// # Errors
/// It is no [`Spec`], or its server does not answer. Broken promises are what it
/// reports.
pub(crate) fn be(spec: &str) -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match spec.work {
            Work::Watch {
                streams,
                levels,
                keep,
            } => read(&spec, streams, levels, keep).await,
            Work::Snapshots { times } => snapshots::take(&spec, times).await,
        }
    })
}

/// The SKU of a load's product, as `stockroom load` calls it.
pub(crate) fn sku(product: usize) -> String {
    format!("load-{product:05}")
}

async fn read(spec: &Spec, streams: usize, levels: usize, keep: Keep) -> anyhow::Result<()> {
    let endpoint = endpoint(spec, STREAM_WINDOW_BYTES)?;
    let lines: Vec<Arc<Line>> = (0..spec.connections)
        .map(|_| Arc::new(Line::new(endpoint.connect_lazy(), addr(spec))))
        .collect();
    let shared = Arc::new(Shared {
        clock: Clock::start(),
        tally: Mutex::new(Tally::new(streams)),
    });
    let mut watchers = Vec::with_capacity(streams);
    for (place, line) in (0..streams).zip(lines.iter().cycle()) {
        let watcher = Arc::new(Mutex::new(Watcher::new(sku(place % levels), keep)));
        watchers.push(Arc::clone(&watcher));
        // Ends with the process.
        tokio::spawn(watch(Arc::clone(&shared), place, Arc::clone(line), watcher));
    }
    let mut commands = commands();
    while let Some(command) = commands.recv().await {
        let (word, file) = command.split_once(' ').unwrap_or((&command, ""));
        let at = shared.clock.elapsed();
        match word {
            told::BEGIN => lock(&shared.tally).begin(at),
            told::END => say(&Said::Window(window(&mut lock(&shared.tally), at)?)),
            told::FINISH => {
                let truth = match file {
                    "" => None,
                    file => Some(truth::read(Path::new(file))?),
                };
                say(&Said::Finished(finish(&shared, watchers, truth).await));
                return Ok(());
            }
            _ => bail!("the reader was told to {command}"),
        }
    }
    // Whoever started it is gone.
    Ok(())
}

fn window(tally: &mut Tally, at: Duration) -> anyhow::Result<Window> {
    let (began, _) = tally.window.context("no window has begun")?;
    tally.window = Some((began, Some(at)));
    Ok(Window {
        seconds: (at - began).as_secs_f64(),
        messages: tally.messages.iter().sum(),
        messages_least: tally.messages.iter().copied().min().unwrap_or(0),
        messages_most: tally.messages.iter().copied().max().unwrap_or(0),
        message_bytes: tally.message_bytes,
        age: tally.ages.lag(),
    })
}

/// Waits for the last values and looks for what is wrong.
async fn finish(
    shared: &Shared,
    watchers: Vec<Arc<Mutex<Watcher>>>,
    truth: Option<Truth>,
) -> Finished {
    if let Some(truth) = &truth {
        let deadline = Instant::now() + LAST_VALUES_LIMIT;
        while Instant::now() < deadline && watchers.iter().any(|w| is_behind(&lock(w), truth)) {
            sleep(LAST_VALUES_INTERVAL).await;
        }
    }
    let at = shared.clock.elapsed();
    let window = lock(&shared.tally).window;
    let window = window.and_then(|(began, ended)| Some((began, ended?)));
    let window = window.map(|(began, ended)| (shared.clock.us(began), shared.clock.us(ended)));
    let mut found = Report::default();
    let mut lags = Lags::new();
    for watcher in watchers {
        let mut watcher = lock(&watcher);
        let watcher =
            std::mem::replace(&mut *watcher, Watcher::new(String::new(), Keep::LastValues));
        let level = truth.as_ref().and_then(|truth| truth.get(&watcher.sku));
        if let Some((level, window)) = level.zip(window) {
            record_lags(&mut lags, &watcher.arrivals, &level.made, window);
        }
        match (&truth, level) {
            // What a floor sends has no truth behind it; the rest holds for it as well.
            (None, _) => found.add(watcher.audit.report().clone()),
            (Some(_), Some(level)) => found.add(watcher.audit.finish(at, &level.ledger)),
            (Some(_), None) => found.add(watcher.audit.finish(at, &Ledger::default())),
        }
    }
    let mut finished = finished(&found, lags.lag());
    let tally = lock(&shared.tally);
    finished.ended = tally.ended;
    finished.ends.clone_from(&tally.ends);
    finished
}

fn finished(found: &Report, lag: Option<Lag>) -> Finished {
    let examples = found.examples.iter().take(EXAMPLES_MAX);
    Finished {
        streams: found.streams,
        goodbyes: found.goodbyes,
        violations: found.violations,
        examples: examples.map(ToString::to_string).collect(),
        lag,
        ..Finished::default()
    }
}

fn is_behind(watcher: &Watcher, truth: &Truth) -> bool {
    let level = truth.get(&watcher.sku);
    level.is_some_and(|level| watcher.audit.behind(&level.ledger) > 0)
}

/// For each version that was made within `window`: the time until it or a later one
/// came. One that never came is a violation, not a lag.
fn record_lags(
    lags: &mut Lags,
    arrivals: &[(i64, i64)],
    made: &[(i64, i64)],
    (began_us, ended_us): (i64, i64),
) {
    for (version, made_us) in made {
        if (began_us..ended_us).contains(made_us) {
            let place = arrivals.partition_point(|(came, _)| came < version);
            if let Some((_, came_us)) = arrivals.get(place) {
                lags.record(came_us - made_us);
            }
        }
    }
}

fn endpoint(spec: &Spec, stream_bytes: u32) -> anyhow::Result<Endpoint> {
    let endpoint: Endpoint = Channel::from_shared(spec.url.clone())?;
    Ok(endpoint
        .tcp_nodelay(true)
        .initial_stream_window_size(stream_bytes)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

fn addr(spec: &Spec) -> String {
    spec.url.trim_start_matches("http://").to_owned()
}

/// Lines from stdin, read by a thread of its own.
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (send, commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    commands
}

/// Whoever started it and does not listen any more has no use for it.
fn say(said: &Said) {
    let line = serde_json::to_string(said).expect("numbers and texts");
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

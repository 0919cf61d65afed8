//! Snapshots of all levels, one after the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use stockroom::client::WatchTargets;
use stockroom::client::history::{Audit, StreamEnd};
use stockroom::client::proto::WatchStockResponse;
use stockroom::client::proto::watch_stock_response::Event;
use tokio::time::{Instant, timeout};

use super::said::{Said, Spec, told};
use super::watcher::Line;
use super::{addr, commands, endpoint, finished, say, truth};
use crate::support::clock::Clock;

/// What Stockroom's own client grants a stream, for a snapshot of many levels.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What one may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Watches everything until it is synced, again and again. These are measured and only
/// counted; one more is checked.
pub(super) async fn take(spec: &Spec, times: usize) -> anyhow::Result<()> {
    let endpoint = endpoint(spec, STREAM_WINDOW_BYTES)?;
    let line = Line::new(endpoint.connect().await?, addr(spec));
    let (mut ms, mut levels) = (Vec::with_capacity(times), 0);
    for _ in 0..times {
        let asked = Instant::now();
        levels = 0;
        let count = |message: &WatchStockResponse| {
            if let Some(Event::Changes(changes)) = &message.event {
                levels += changes.levels.len();
            }
        };
        timeout(LIMIT, snapshot(&line, count)).await??;
        ms.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    say(&Said::Snapshots { ms, levels });

    let command = commands().recv().await.context("nobody wants to know")?;
    let Some(file) = command.strip_prefix(told::FINISH) else {
        bail!("the reader was told to {command}");
    };
    let ledger = truth::read_whole(Path::new(file.trim_start()))?;
    let (targets, clock) = (WatchTargets::all(), Clock::start());
    let mut audit = Audit::new(&targets).keeping_values();
    audit.began(clock.elapsed(), &targets.request("", Vec::new()));
    let check = |message: &WatchStockResponse| audit.message(clock.elapsed(), message);
    timeout(LIMIT, snapshot(&line, check)).await??;
    audit.ended(clock.elapsed(), StreamEnd::Reader);
    let found = audit.finish(clock.elapsed(), &ledger);
    say(&Said::Finished(finished(&found, None)));
    Ok(())
}

/// From the request to Synced.
async fn snapshot(line: &Line, mut told: impl FnMut(&WatchStockResponse)) -> anyhow::Result<()> {
    let request = WatchTargets::all().request("", Vec::new());
    let mut messages = line.inventory().watch_stock(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        told(&message);
        if matches!(message.event, Some(Event::Synced(_))) {
            return Ok(());
        }
    }
    bail!("the stream ended before it was synced")
}

//! Sends a replay to a server from many clients at once.
//!
//! Each client takes the next request of the file when it has its answer, so
//! requests begin in the file's order. Every request is repeated with its own
//! `request_id` until it is settled; a refusal is an answer and is counted. An
//! error that says nothing about the request ends the replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::factor::Factor;
use super::retail::{Replay, Request};
use crate::cli::latency::Latencies;
use crate::cli::progress::Progress;
use crate::cli::put_products::put_products;
use crate::client::proto::adjust_stock_request::Change;
use crate::client::{Client, ClientError, Retrying};

/// How to send a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Clients that send at the same time.
    pub(crate) clients: usize,
    /// Opening stock as a part of what the file sells.
    pub(crate) stock: Factor,
}

/// What became of a replay.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) opening: Tally,
    pub(crate) orders: Tally,
    pub(crate) returns: Tally,
    pub(crate) corrections: Tally,
    /// Of every answer, retries included.
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer, opening stock left out.
    pub(crate) took: Duration,
    /// Attempts after a first one.
    pub(crate) retries: u64,
}

/// What became of the requests of one kind.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Carried out, now or before.
    pub(crate) accepted: u64,
    /// Of these: carried out by an earlier replay.
    pub(crate) replayed: u64,
    /// Units moved by the accepted ones.
    pub(crate) units: u64,
    /// Refused, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Tally {
    /// All refusals.
    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Refusals for another reason than stock that ran out, which a replay may be there to
    /// show: something is wrong with these requests, or others had their ids before.
    fn wrong(&self) -> u64 {
        let ran_out = self.refused.get("INSUFFICIENT_STOCK");
        self.refused_total() - ran_out.copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.replayed += other.replayed;
        self.units += other.units;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

impl Summary {
    fn new() -> Self {
        Self {
            opening: Tally::default(),
            orders: Tally::default(),
            returns: Tally::default(),
            corrections: Tally::default(),
            latencies: Latencies::new(),
            took: Duration::ZERO,
            retries: 0,
        }
    }

    /// Requests that were refused for another reason than stock that ran out.
    pub(crate) fn wrong(&self) -> u64 {
        let tallies = [
            &self.opening,
            &self.orders,
            &self.returns,
            &self.corrections,
        ];
        tallies.into_iter().map(Tally::wrong).sum()
    }

    fn add(&mut self, other: Self) {
        self.opening.add(other.opening);
        self.orders.add(other.orders);
        self.returns.add(other.returns);
        self.corrections.add(other.corrections);
        self.latencies.add(&other.latencies);
    }

    fn tally(&mut self, request: &Request) -> &mut Tally {
        match request {
            Request::Opening(_) => &mut self.opening,
            Request::Order(_) => &mut self.orders,
            Request::Return(_) => &mut self.returns,
            Request::Correction(_) => &mut self.corrections,
        }
    }
}

/// Puts the products, receives the opening stock, then sends every request.
///
/// # Errors
/// The server could not be reached, or was overloaded, for longer than retrying makes sense.
/// What was sent before stays; another run takes it up, since requests keep their ids. Or the
/// opening stock is refused.
pub(crate) async fn run(
    client: &Client,
    replay: &Replay,
    options: Options,
) -> anyhow::Result<Summary> {
    let retrying = client.retrying();
    let opening = replay.opening_stock(options.stock)?;
    put_products(&retrying, &replay.products()).await?;
    let opening = send(&retrying, opening, options.clients, "opening stock").await?;
    let refused = &opening.opening.refused;
    if let Some((reason, count)) = refused.first_key_value() {
        // Every order after it would be refused for want of it.
        let advice = match reason.as_str() {
            "REQUEST_ID_REUSED" => {
                ": a store that had the file with another --stock keeps what it received then, \
                 so use an empty one"
            }
            _ => "",
        };
        bail!("{count} of the opening stock were refused ({reason}){advice}");
    }

    let requests = replay.requests.clone();
    let mut summary = send(&retrying, requests, options.clients, "requests").await?;
    summary.opening = opening.opening;
    summary.retries = retrying.retries();
    Ok(summary)
}

async fn send(
    retrying: &Retrying,
    requests: Vec<Request>,
    clients: usize,
    label: &'static str,
) -> anyhow::Result<Summary> {
    let queue = Arc::new(Queue {
        progress: Progress::start(label, requests.len()),
        next: AtomicUsize::new(0),
        requests,
    });
    let started = Instant::now();
    // Dropped at the first error, the set ends the other clients as well.
    let mut senders = JoinSet::new();
    for _ in 0..clients {
        senders.spawn(sender(retrying.clone(), Arc::clone(&queue)));
    }
    let mut summary = Summary::new();
    while let Some(sent) = senders.join_next().await {
        summary.add(sent??);
    }
    summary.took = started.elapsed();
    queue.progress.finish();
    Ok(summary)
}

/// The requests that the clients share.
struct Queue {
    requests: Vec<Request>,
    /// The place of the next request that nobody has taken.
    next: AtomicUsize,
    progress: Progress,
}

async fn sender(retrying: Retrying, queue: Arc<Queue>) -> anyhow::Result<Summary> {
    let mut summary = Summary::new();
    while let Some(request) = queue
        .requests
        .get(queue.next.fetch_add(1, Ordering::Relaxed))
    {
        let started = Instant::now();
        let answer = settle(&retrying, request).await;
        summary.latencies.record(started.elapsed());
        let tally = summary.tally(request);
        match answer {
            Ok(replayed) => {
                tally.accepted += 1;
                tally.replayed += u64::from(replayed);
                tally.units += units(request);
            }
            Err(error) if error.is_refusal() && !error.retryable() => {
                *tally.refused.entry(error.label().to_owned()).or_default() += 1;
            }
            Err(error) => {
                let id = request.id();
                return Err(error).with_context(|| format!("gave up on request {id}"));
            }
        }
        queue.progress.advance(1);
    }
    Ok(summary)
}

/// Whether an earlier call had carried the request out.
async fn settle(retrying: &Retrying, request: &Request) -> Result<bool, ClientError> {
    Ok(match request {
        Request::Order(order) => retrying.create_order(order).await?.replayed,
        Request::Opening(change) | Request::Return(change) | Request::Correction(change) => {
            retrying.adjust_stock(change).await?.replayed
        }
    })
}

fn units(request: &Request) -> u64 {
    match request {
        Request::Order(order) => order
            .lines
            .iter()
            .map(|line| line.quantity.unsigned_abs())
            .sum(),
        Request::Opening(change) | Request::Return(change) | Request::Correction(change) => {
            match change.change {
                Some(Change::Delta(units)) => units.unsigned_abs(),
                _ => 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_wrong_but_for_stock_that_ran_out() {
        let mut summary = Summary::new();
        let mut refuse = |tally: fn(&mut Summary) -> &mut Tally, reason: &str, count| {
            tally(&mut summary).refused.insert(reason.to_owned(), count);
            summary.wrong()
        };
        assert_eq!(refuse(|all| &mut all.orders, "INSUFFICIENT_STOCK", 5), 0);
        assert_eq!(refuse(|all| &mut all.orders, "INVALID_REQUEST", 2), 2);
        assert_eq!(refuse(|all| &mut all.returns, "REQUEST_ID_REUSED", 1), 3);
    }
}

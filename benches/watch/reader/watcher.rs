//! One stream, opened again whenever it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use stockroom::client::history::{Audit, StreamEnd};
use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{StockKey, StockLevel, WatchStockRequest, WatchStockResponse};
use stockroom::client::{ClientError, WatchTargets};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use super::Shared;
use super::said::Keep;
use super::truth::LOCATION;

/// How often a server that is gone is looked for, on each connection. Short, since the
/// time until all are back shall be the server's.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// The least and the most wait before a stream that ended is asked for again, unless the
/// server says how long.
const RETRY_MS: std::ops::Range<u64> = 20..100;

/// How much later than promised a stream may be heard. Server, database, orders and
/// reader are all busy on this machine, and some of the delay is the reader's own; a
/// client gives a stream up after twice the heartbeat interval, which is 15 s.
const SILENCE_TOLERANCE: Duration = Duration::from_secs(5);

/// One connection, shared by many streams; made again when it is lost.
pub(super) struct Line {
    inventory: InventoryServiceClient<Channel>,
    /// HOST:PORT of the server.
    addr: String,
    /// When somebody last found it there.
    found_at: tokio::sync::Mutex<Option<Instant>>,
}

impl Line {
    pub(super) fn new(channel: Channel, addr: String) -> Self {
        Self {
            inventory: InventoryServiceClient::new(channel),
            addr,
            found_at: tokio::sync::Mutex::new(None),
        }
    }

    pub(super) fn inventory(&self) -> InventoryServiceClient<Channel> {
        self.inventory.clone()
    }

    /// Waits until somebody listens; the streams of a connection look together.
    async fn reachable(&self) {
        let mut found_at = self.found_at.lock().await;
        if found_at.is_some_and(|at| at.elapsed() < PROBE_INTERVAL) {
            return;
        }
        while TcpStream::connect(&self.addr).await.is_err() {
            sleep(PROBE_INTERVAL).await;
        }
        *found_at = Some(Instant::now());
    }
}

/// What is known of one stream.
pub(super) struct Watcher {
    pub(super) sku: String,
    pub(super) audit: Audit,
    targets: WatchTargets,
    /// Version, and when it came in microseconds of 1970; only if that is kept.
    pub(super) arrivals: Vec<(i64, i64)>,
    keep: Keep,
    /// How long the server's last Goodbye asks to wait.
    reconnect_after: Option<Duration>,
}

impl Watcher {
    pub(super) fn new(sku: String, keep: Keep) -> Self {
        let targets = WatchTargets::levels([StockKey {
            sku: sku.clone(),
            location: LOCATION.to_owned(),
        }]);
        let audit = Audit::new(&targets).tolerating(SILENCE_TOLERANCE);
        Self {
            sku,
            audit: match keep {
                Keep::LastValues => audit,
                Keep::AllValues | Keep::Arrivals => audit.keeping_values(),
            },
            targets,
            arrivals: Vec::new(),
            keep,
            reconnect_after: None,
        }
    }

    fn began(&mut self, at: Duration) -> WatchStockRequest {
        let seen = self.audit.seen();
        let request = self.targets.request(self.audit.store_id(), seen);
        self.audit.began(at, &request);
        request
    }
}

/// Watches for as long as it is polled.
pub(super) async fn watch(
    shared: Arc<Shared>,
    place: usize,
    line: Arc<Line>,
    watcher: Arc<Mutex<Watcher>>,
) {
    loop {
        let request = lock(&watcher).began(shared.clock.elapsed());
        let ended = stream(&shared, place, &line, &watcher, request).await;
        lock(&shared.tally).ended(place, || match &ended {
            Ok(()) => "OK".to_owned(),
            Err(error) => error.to_string(),
        });
        let (end, retry_after) = match ended {
            Ok(()) => (StreamEnd::Ok, None),
            Err(error) => (StreamEnd::of(&error), error.retry_after),
        };
        let goodbye = {
            let mut watcher = lock(&watcher);
            watcher.audit.ended(shared.clock.elapsed(), end);
            watcher.reconnect_after.take()
        };
        let wait = goodbye.or(retry_after);
        let jitter = || Duration::from_millis(rand::random_range(RETRY_MS));
        sleep(wait.unwrap_or_else(jitter)).await;
        line.reachable().await;
    }
}

/// Reads one stream to its end.
async fn stream(
    shared: &Shared,
    place: usize,
    line: &Line,
    watcher: &Mutex<Watcher>,
    request: WatchStockRequest,
) -> Result<(), ClientError> {
    let mut messages = line.inventory().watch_stock(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        heard(shared, place, &mut lock(watcher), &message);
    }
    Ok(())
}

fn heard(shared: &Shared, place: usize, watcher: &mut Watcher, message: &WatchStockResponse) {
    let at = shared.clock.elapsed();
    watcher.audit.message(at, message);
    let mut tally = lock(&shared.tally);
    tally.messages[place] += 1;
    match &message.event {
        Some(Event::Changes(changes)) => {
            let at_us = shared.clock.us(at);
            if tally.message_bytes == 0 && tally.counts() {
                tally.message_bytes = message.encoded_len();
            }
            for level in &changes.levels {
                if tally.counts() {
                    tally.ages.record(at_us - made_us(level));
                }
                if watcher.keep == Keep::Arrivals {
                    watcher.arrivals.push((level.version, at_us));
                }
            }
        }
        Some(Event::Synced(_)) => {
            if tally.synced(place) {
                drop(tally);
                shared.all_synced(at);
            }
        }
        Some(Event::Goodbye(goodbye)) => {
            let wait = goodbye
                .reconnect_after
                .and_then(|wait| wait.try_into().ok());
            watcher.reconnect_after = wait;
        }
        Some(Event::Started(_) | Event::Heartbeat(_)) | None => {}
    }
}

/// When the server made the level what it is, in microseconds of 1970.
fn made_us(level: &StockLevel) -> i64 {
    level.update_time.map_or(0, |time| {
        time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
    })
}

/// Nobody panics while holding one of the reader's locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

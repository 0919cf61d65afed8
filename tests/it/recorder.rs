//! Histories of watchers: recorded as they happen, audited in the end, and
//! tampered with to see whether the audit would notice.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, Database, Statement};
use stockroom::client::history::{Audit, Ledger, Report, StreamEnd};
use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{Movement, StockLevel, WatchStockRequest, WatchStockResponse};
use stockroom::client::{ClientError, WatchTargets};
use tonic::Streaming;

use crate::fixture::{DEADLINE, Home, in_time};

/// How much longer than the heartbeat interval a machine that runs other tests
/// may be silent.
const SILENCE_TOLERANCE: Duration = Duration::from_secs(10);

/// Something that happened to a watcher.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Began(WatchStockRequest),
    Message(WatchStockResponse),
    Ended(StreamEnd),
}

/// All that happened to one watcher, and when.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) targets: WatchTargets,
    pub(crate) happenings: Vec<(Duration, Happening)>,
}

impl History {
    /// Tells an auditor of all of it, and of the truth.
    pub(crate) fn audit(&self, truth: &Ledger) -> Report {
        let mut audit = audit_of(&self.targets);
        let mut now = Duration::ZERO;
        for (at, happening) in &self.happenings {
            tell(&mut audit, *at, happening);
            now = *at;
        }
        audit.finish(now, truth)
    }

    /// Where the messages are that carry levels.
    pub(crate) fn changes(&self) -> Vec<usize> {
        let happenings = self.happenings.iter().enumerate();
        happenings
            .filter(|(_, (_, happening))| !levels(happening).is_empty())
            .map(|(place, _)| place)
            .collect()
    }
}

/// The levels that a message carries.
pub(crate) fn levels(happening: &Happening) -> &[StockLevel] {
    match happening {
        Happening::Message(WatchStockResponse {
            event: Some(Event::Changes(changes)),
        }) => &changes.levels,
        _ => &[],
    }
}

fn audit_of(targets: &WatchTargets) -> Audit {
    let audit = Audit::new(targets).keeping_values();
    audit.tolerating(SILENCE_TOLERANCE)
}

fn tell(audit: &mut Audit, at: Duration, happening: &Happening) {
    match happening {
        Happening::Began(request) => audit.began(at, request),
        Happening::Message(message) => audit.message(at, message),
        Happening::Ended(end) => audit.ended(at, end.clone()),
    }
}

/// A watcher that records raw streams, and resumes as its audit says.
pub(crate) struct Recorder {
    began: Instant,
    audit: Audit,
    history: History,
    stream: Option<Streaming<WatchStockResponse>>,
    synced: bool,
}

impl Recorder {
    pub(crate) fn new(targets: WatchTargets) -> Self {
        Self {
            began: Instant::now(),
            audit: audit_of(&targets),
            history: History {
                targets,
                happenings: Vec::new(),
            },
            stream: None,
            synced: false,
        }
    }

    /// Whether there is a stream to read.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Opens a stream at one of the servers that there may be, and says whether
    /// somebody answered.
    pub(crate) async fn open(&mut self, url: &str) -> bool {
        self.let_go();
        let opening = async {
            let mut inventory = InventoryServiceClient::connect(url.to_owned()).await.ok()?;
            let seen = self.audit.seen();
            let request = self.history.targets.request(self.audit.store_id(), seen);
            Some((inventory.watch_stock(request.clone()).await, request))
        };
        let opened = tokio::time::timeout(DEADLINE, opening).await;
        let Some((answer, request)) = opened.expect("an answer, or none can come") else {
            return false;
        };
        self.note(Happening::Began(request));
        match answer {
            Ok(answer) => self.stream = Some(answer.into_inner()),
            Err(status) => {
                let error = ClientError::from(status);
                assert!(error.retryable(), "no stream: {error}");
                self.note(Happening::Ended(StreamEnd::of(&error)));
            }
        }
        self.is_open()
    }

    /// Reads a message, or the end of the stream. May be dropped while it waits.
    pub(crate) async fn read(&mut self) {
        let stream = self.stream.as_mut().expect("it is open");
        let happening = match stream.message().await {
            Ok(Some(message)) => Happening::Message(message),
            Ok(None) => Happening::Ended(StreamEnd::Ok),
            Err(status) => Happening::Ended(StreamEnd::of(&status.into())),
        };
        match &happening {
            Happening::Ended(_) => self.stream = None,
            Happening::Message(message) => {
                self.synced |= matches!(message.event, Some(Event::Synced(_)));
            }
            Happening::Began(_) => {}
        }
        self.note(happening);
    }

    /// Ends the stream from this side.
    pub(crate) fn let_go(&mut self) {
        if self.stream.take().is_some() {
            self.note(Happening::Ended(StreamEnd::Reader));
        }
        self.synced = false;
    }

    /// Reads until the snapshot is complete.
    pub(crate) async fn until_synced(&mut self) {
        let reading = async {
            while !self.synced {
                self.read().await;
            }
        };
        in_time("the snapshot is complete", reading).await;
    }

    /// Reads until a level at `main` has come at a version or a later one.
    pub(crate) async fn until(&mut self, sku: &str, version: i64) {
        let reading = async {
            while self.audit.version(sku, "main") < Some(version) {
                self.read().await;
            }
        };
        in_time(&format!("version {version} of {sku} comes"), reading).await;
    }

    /// Whether it is synced and has the last value of all that it watches.
    pub(crate) fn caught_up(&self, truth: &Ledger) -> bool {
        self.audit.caught_up(truth)
    }

    pub(crate) fn into_history(self) -> History {
        self.history
    }

    fn note(&mut self, happening: Happening) {
        let at = self.began.elapsed();
        tell(&mut self.audit, at, &happening);
        self.history.happenings.push((at, happening));
    }
}

/// The whole ledger and every level, read from the database past the server.
pub(crate) async fn ledger(home: &Home) -> Ledger {
    let database = Database::connect(home.url()).await.unwrap();
    let query = async |sql| {
        let statement = Statement::from_string(database.get_database_backend(), sql);
        database.query_all_raw(statement).await.unwrap()
    };
    let mut truth = Ledger::default();
    for row in query("SELECT sku, location, version, on_hand, reserved FROM movement").await {
        truth.movement(&Movement {
            sku: row.try_get_by_index(0).unwrap(),
            location: row.try_get_by_index(1).unwrap(),
            version: row.try_get_by_index(2).unwrap(),
            on_hand: row.try_get_by_index(3).unwrap(),
            reserved: row.try_get_by_index(4).unwrap(),
            ..Movement::default()
        });
    }
    const LEVELS: &str =
        "SELECT sku, location, version, on_hand, reserved, low_stock_threshold FROM stock_level";
    for row in query(LEVELS).await {
        let (on_hand, reserved): (i64, i64) = (
            row.try_get_by_index(3).unwrap(),
            row.try_get_by_index(4).unwrap(),
        );
        let (available, threshold) = (on_hand - reserved, row.try_get_by_index::<i64>(5).unwrap());
        truth.level(&StockLevel {
            sku: row.try_get_by_index(0).unwrap(),
            location: row.try_get_by_index(1).unwrap(),
            version: row.try_get_by_index(2).unwrap(),
            on_hand,
            reserved,
            available,
            low_stock: threshold > 0 && available <= threshold,
            ..StockLevel::default()
        });
    }
    database.close().await.unwrap();
    truth
}

//! What can go wrong, as facts that a caller can act on.
//!
//! Knows no transport: `grpc/status.rs` turns these into status codes.

mod causes;
mod reason;

pub(crate) use causes::{causes, chain, in_one_line};
pub use reason::{Reason, UnknownReason};

use crate::domain::{LevelKey, OrderId, OrderState, RequestId, Sku, StockLevel, Version};
use crate::storage::StorageError;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields break their bounds; all of them are listed.
    #[error("the request is invalid: {}", list(.0))]
    InvalidRequest(Vec<Violation>),
    /// The request id has been used with another payload.
    #[error("request_id {0} was used with another payload")]
    RequestIdReused(RequestId),
    /// SKUs that are no products of the store.
    #[error("unknown SKU: {}", list(.0))]
    SkuNotFound(Vec<Sku>),
    /// No order has this id, or no order was made by this request.
    #[error("no order {0}")]
    OrderNotFound(String),
    /// The order is not in a state from which it could become what was asked for.
    #[error("order {order_id} is {state}")]
    OrderState {
        /// The order.
        order_id: OrderId,
        /// Where it is in its life.
        state: OrderState,
    },
    /// Levels that have less than was asked for; all of them are listed.
    #[error("not enough stock: {}", list(.0))]
    InsufficientStock(Vec<Shortfall>),
    /// Levels of a product that is to be deleted are not empty; all of them are listed.
    #[error("stock remains: {}", levels_list(.0))]
    StockRemains(Vec<StockLevel>),
    /// Levels have more units on backorder than a product is to allow; all of them are
    /// listed.
    #[error("backorders remain: {}", list(.0))]
    BackordersRemain(Vec<Owed>),
    /// The caller's own expected versions were stale; all of them are listed.
    #[error("{}", list(.0))]
    VersionMismatch(Vec<Mismatch>),
    /// No source has the version that the caller asked for.
    #[error("{key} is at version {actual}, below {wanted}")]
    VersionNotReached {
        /// The level.
        key: LevelKey,
        /// The lowest version that the caller accepts.
        wanted: Version,
        /// What the level is at.
        actual: Version,
    },
    /// Other writers changed the same levels on every attempt.
    #[error("the stock changed on each of {attempts} attempts")]
    StockContention {
        /// How often it was tried.
        attempts: u32,
    },
    /// A queue of this instance is full.
    #[error("the server is overloaded: {0}")]
    Overloaded(&'static str),
    /// A stream asks for more than is allowed, or there are too many already.
    #[error("too many {bound}: at most {limit} {}", .bound.unit())]
    TooManyWatches {
        /// Too many of what.
        bound: WatchBound,
        /// The maximum.
        limit: usize,
    },
    /// The database did not answer.
    #[error("the database is unavailable")]
    StoreUnavailable(#[source] Option<StorageError>),
    /// The instance shuts down, changes its store, or ends a stream that has grown old.
    #[error("this instance ends its calls; the next one is served, here or by another")]
    Draining,
    /// A fault of the program or of the database's contents.
    #[error("internal error")]
    Internal(#[source] StorageError),
}

/// What there can be too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchBound {
    /// Levels that one stream names, those seen before included.
    Targets,
    /// Streams of one connection.
    Connection,
    /// Streams of the process.
    Server,
}

/// A field that breaks its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request: `lines[2].quantity`.
    pub field: String,
    /// The bound, and what was given.
    pub description: String,
}

/// A level that has less than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The level.
    pub key: LevelKey,
    /// Units asked for.
    pub requested: i64,
    /// Units that nobody has taken or reserved.
    pub available: i64,
    /// Units beyond these that may go on backorder.
    pub backorder_limit: i64,
}

/// A level with more units on backorder than its product is to allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The level.
    pub key: LevelKey,
    /// What is available: minus the units on backorder.
    pub available: i64,
    /// What the product was to allow.
    pub backorder_limit: i64,
}

/// A level that is not at the version that the caller expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The level.
    pub key: LevelKey,
    /// What the caller expected.
    pub expected: Version,
    /// What the level is at.
    pub actual: Version,
}

impl Error {
    /// Whether the same request can succeed later without anybody changing it.
    pub fn retryable(&self) -> bool {
        match self {
            // Waiting does not make a request smaller.
            Self::TooManyWatches { bound, .. } => *bound != WatchBound::Targets,
            error => error.reason().retryable(),
        }
    }

    /// Its name.
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidRequest(_) => Reason::InvalidRequest,
            Self::RequestIdReused(_) => Reason::RequestIdReused,
            Self::SkuNotFound(_) => Reason::SkuNotFound,
            Self::OrderNotFound(_) => Reason::OrderNotFound,
            Self::OrderState { .. } => Reason::OrderState,
            Self::InsufficientStock(_) => Reason::InsufficientStock,
            Self::StockRemains(_) => Reason::StockRemains,
            Self::BackordersRemain(_) => Reason::BackordersRemain,
            Self::VersionMismatch(_) => Reason::VersionMismatch,
            Self::VersionNotReached { .. } => Reason::VersionNotReached,
            Self::StockContention { .. } => Reason::StockContention,
            Self::Overloaded(_) => Reason::Overloaded,
            Self::TooManyWatches { .. } => Reason::TooManyWatches,
            Self::StoreUnavailable(_) => Reason::StoreUnavailable,
            Self::Draining => Reason::Draining,
            Self::Internal(_) => Reason::Internal,
        }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Conflict { .. } => Self::StockContention { attempts: 1 },
            StorageError::Unavailable(_) | StorageError::CommitUnknown(_) => {
                Self::StoreUnavailable(Some(error))
            }
            StorageError::Failed(_) => Self::Internal(error),
        }
    }
}

impl WatchBound {
    /// What its limit counts.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Targets => "levels",
            Self::Connection | Self::Server => "streams",
        }
    }
}

impl std::fmt::Display for WatchBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Targets => "levels of a watch stream",
            Self::Connection => "watch streams of a connection",
            Self::Server => "watch streams of this server",
        })
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.field, self.description)
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is at version {}, not {}",
            self.key, self.actual, self.expected
        )
    }
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has {} available, {} requested",
            self.key, self.available, self.requested
        )?;
        match self.backorder_limit {
            0 => Ok(()),
            limit => write!(f, ", backorder_limit {limit}"),
        }
    }
}

impl std::fmt::Display for Owed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has {} available, below a backorder_limit of {}",
            self.key, self.available, self.backorder_limit
        )
    }
}

/// What is left of levels, in words.
fn levels_list(levels: &[StockLevel]) -> String {
    let words = levels.iter().map(|level| {
        let (on_hand, reserved) = (level.on_hand, level.reserved);
        format!("{} has {on_hand} on hand, {reserved} reserved", level.key)
    });
    list(&words.collect::<Vec<_>>())
}

/// The first few, so that a message stays readable; the details carry all.
fn list<T: ToString>(items: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join("; ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

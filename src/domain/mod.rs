//! The words of the shop: what stock, orders and movements are.
//!
//! Pure and synchronous: nothing here reads a clock, a socket or a database.
//! Values are checked when they are made, so that the rest of the program
//! never asks again.

mod adjustment;
mod movement;
mod order;
mod quantity;
mod read;
mod request;
mod sku;
mod stock;
mod text;
mod time;
mod trace;
mod writes;

pub use adjustment::{Adjustment, AdjustmentCall, Adjustments, Change};
pub use movement::{Counterpart, Movement, MovementKind};
pub use order::{
    Hold, NewOrder, NewOrderLine, Order, OrderChange, OrderId, OrderLine, OrderState, Transition,
};
pub use quantity::Quantity;
pub use read::{KeyToRead, ServedFrom};
pub use request::{Fingerprint, RequestId};
pub use sku::{Location, Sku};
pub use stock::{LevelKey, Product, StockLevel, Version};
pub use text::text_faults;
pub use time::Timestamp;
pub use trace::{NoTrace, Trace};
pub use writes::{
    LevelTake, LevelWrite, LoadedLevel, OrderWrite, RequestWrite, StoredAnswer, StoredRequest,
    Writes,
};

/// Why a value was refused: the bound it breaks, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

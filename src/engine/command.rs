//! What the engine is asked to do, and what it did.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{
    Adjustments, Fingerprint, Hold, LevelKey, Movement, NewOrder, Order, OrderChange, RequestId,
    StockLevel, Trace, Transition,
};

/// A write to carry out.
#[derive(Debug)]
pub enum Command {
    /// Take units from stock.
    CreateOrder(NewOrder),
    /// Change an order that is there.
    ChangeOrder(OrderChange),
    /// Change stock for another reason, with one change or several.
    AdjustStock(Adjustments),
}

/// What a command did.
#[derive(Debug, Clone)]
pub enum Done {
    /// This order was made or changed.
    Order {
        /// The order.
        order: Arc<Order>,
        /// Whether an earlier call did it.
        replayed: bool,
    },
    /// AdjustStock made these movements.
    Adjusted {
        /// One for each change, in their order.
        movements: Vec<Arc<Movement>>,
        /// The levels that it changed, each once, in ascending order, as the movements
        /// left them; when replayed, as they are now.
        levels: Vec<StockLevel>,
        /// Whether an earlier call made it.
        replayed: bool,
    },
}

/// A command with the fingerprint of what it asks for, and who asked.
#[derive(Debug)]
pub struct Prepared {
    /// The command.
    pub command: Command,
    /// Of its payload.
    pub fingerprint: Fingerprint,
    /// The caller's trace, or one that was made; what it is matters to events alone.
    pub trace: Trace,
}

/// Levels that commands name, each once, in ascending order.
pub(super) fn ascending<'k>(keys: impl Iterator<Item = &'k LevelKey>) -> Vec<LevelKey> {
    let keys: BTreeSet<&LevelKey> = keys.collect();
    keys.into_iter().cloned().collect()
}

impl Command {
    /// The caller's key; none for the end of a hold.
    pub fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::CreateOrder(new) => Some(&new.request_id),
            Self::ChangeOrder(change) => change.request_id.as_ref(),
            Self::AdjustStock(asked) => Some(&asked.request_id),
        }
    }

    /// The levels that it names; one may come twice.
    pub(super) fn keys(&self) -> impl Iterator<Item = &LevelKey> {
        let (new, known, changes) = match self {
            Self::CreateOrder(new) => (new.lines.as_slice(), &[][..], &[][..]),
            Self::ChangeOrder(change) => (&[][..], change.order.lines.as_slice(), &[][..]),
            Self::AdjustStock(asked) => (&[][..], &[][..], asked.changes.as_slice()),
        };
        let new = new.iter().map(|line| &line.key);
        let known = known.iter().map(|line| &line.key);
        let changed = changes.iter().map(|change| &change.key);
        new.chain(known).chain(changed)
    }

    /// The hold that begins with it, or is to last longer.
    pub(super) fn hold(&mut self) -> Option<&mut Hold> {
        match self {
            Self::CreateOrder(new) => new.hold.as_mut(),
            Self::ChangeOrder(OrderChange {
                transition: Transition::Extend(hold),
                ..
            }) => Some(hold),
            Self::ChangeOrder(_) | Self::AdjustStock(_) => None,
        }
    }

    /// The order that it changes.
    pub(super) fn order(&self) -> Option<&Arc<Order>> {
        match self {
            Self::ChangeOrder(change) => Some(&change.order),
            Self::CreateOrder(_) | Self::AdjustStock(_) => None,
        }
    }

    /// How much of the queue's and the batch's bound on lines it takes.
    pub(super) fn lines(&self) -> usize {
        match self {
            Self::CreateOrder(new) => new.lines.len(),
            Self::ChangeOrder(change) => change.order.lines.len(),
            Self::AdjustStock(asked) => asked.changes.len(),
        }
    }
}

impl From<Command> for Prepared {
    fn from(command: Command) -> Self {
        let (fingerprint, trace) = match &command {
            Command::CreateOrder(new) => (new.fingerprint(), Trace::of_order(new.order_id)),
            Command::ChangeOrder(change) => {
                let trace = Trace::of_id(*Uuid::now_v7().as_bytes());
                (change.fingerprint(), trace)
            }
            Command::AdjustStock(asked) => (
                asked.fingerprint(),
                Trace::of_id(*Uuid::now_v7().as_bytes()),
            ),
        };
        Self {
            command,
            fingerprint,
            trace,
        }
    }
}

//! What is asked for that changes stock for a reason other than an order.

use super::request::Canonical;
use super::{Fingerprint, Invalid, LevelKey, MovementKind, RequestId, Version};

/// Changes of stock that are made together, in their order, or not at all.
///
/// AdjustStock and CountStock ask for one; the others for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustments {
    /// The caller's key.
    pub request_id: RequestId,
    /// Which request it is.
    pub call: AdjustmentCall,
    /// The changes, at least one. Those of a transfer come in pairs: what leaves, and
    /// what comes of it.
    pub changes: Vec<Adjustment>,
}

/// The requests that change stock for a reason other than an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdjustmentCall {
    /// AdjustStock.
    Adjust,
    /// BatchAdjustStock.
    Batch,
    /// CountStock.
    Count,
    /// TransferStock.
    Transfer,
}

/// One change of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The level.
    pub key: LevelKey,
    /// By how much.
    pub change: Change,
    /// Why: one for which [`MovementKind::is_adjustment`] holds, or a half of a transfer.
    pub kind: MovementKind,
    /// A note for the ledger; may be empty.
    pub note: String,
    /// The version that the caller saw, before any of the changes; none means any.
    pub expected_version: Option<Version>,
}

/// How `on_hand` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Units to add; not 0.
    Delta(i64),
    /// What it shall be.
    SetOnHand(i64),
}

impl Adjustment {
    /// Largest change in either direction, in units.
    pub const DELTA_MAX: i64 = 1_000_000_000;

    /// Longest note, in bytes.
    pub const NOTE_BYTES_MAX: usize = 512;

    /// Checks how many units a delta adds.
    ///
    /// # Errors
    /// Names the bound that `units` breaks.
    pub fn check_delta(units: i64) -> Result<(), Invalid> {
        let max = Self::DELTA_MAX;
        if units != 0 && (-max..=max).contains(&units) {
            return Ok(());
        }
        let why = format!("must be -{max} to {max} and not 0, is {units}");
        Err(Invalid(why))
    }
}

impl Adjustments {
    /// Most changes of one request: they are one transaction, during which others wait.
    pub const CHANGES_MAX: usize = 500;

    /// The levels that it names, in its order; one may come twice.
    pub fn keys(&self) -> impl Iterator<Item = &LevelKey> {
        self.changes.iter().map(|change| &change.key)
    }

    /// The path of the field that says how much the change in this place is.
    pub fn field(&self, place: usize) -> String {
        match (self.call, self.changes[place].change) {
            (AdjustmentCall::Adjust, Change::Delta(_)) => "delta".to_owned(),
            (AdjustmentCall::Adjust, Change::SetOnHand(_)) => "set_on_hand".to_owned(),
            (AdjustmentCall::Count, _) => "on_hand".to_owned(),
            (AdjustmentCall::Batch, Change::Delta(_)) => format!("adjustments[{place}].delta"),
            (AdjustmentCall::Batch, Change::SetOnHand(_)) => {
                format!("adjustments[{place}].set_on_hand")
            }
            (AdjustmentCall::Transfer, _) => format!("lines[{}].quantity", place / 2),
        }
    }

    /// The fingerprint of what is asked for.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut canonical = Canonical::new(match self.call {
            AdjustmentCall::Adjust => "AdjustStock",
            AdjustmentCall::Batch => "BatchAdjustStock",
            AdjustmentCall::Count => "CountStock",
            AdjustmentCall::Transfer => "TransferStock",
        });
        // Each begins with its SKU, which is never empty.
        for change in &self.changes {
            canonical.text(1, change.key.sku.as_str());
            canonical.text(2, change.key.location.as_str());
            match change.change {
                Change::Delta(units) => canonical.number(3, units),
                Change::SetOnHand(units) => canonical.number(4, units),
            }
            canonical.number(5, change.kind as i64);
            canonical.text(6, &change.note);
            if let Some(version) = change.expected_version {
                canonical.number(7, version.number());
            }
        }
        canonical.finish()
    }
}

//! The names of errors, and what each says whatever its details.

use std::str::FromStr;

#[cfg(doc)]
use super::Error;

/// The name of each kind of [`Error`], as callers and metrics see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// [`Error::InvalidRequest`]
    InvalidRequest,
    /// [`Error::RequestIdReused`]
    RequestIdReused,
    /// [`Error::SkuNotFound`]
    SkuNotFound,
    /// [`Error::OrderNotFound`]
    OrderNotFound,
    /// [`Error::OrderState`]
    OrderState,
    /// [`Error::InsufficientStock`]
    InsufficientStock,
    /// [`Error::StockRemains`]
    StockRemains,
    /// [`Error::BackordersRemain`]
    BackordersRemain,
    /// [`Error::VersionMismatch`]
    VersionMismatch,
    /// [`Error::VersionNotReached`]
    VersionNotReached,
    /// [`Error::StockContention`]
    StockContention,
    /// [`Error::Overloaded`]
    Overloaded,
    /// [`Error::TooManyWatches`]
    TooManyWatches,
    /// [`Error::StoreUnavailable`]
    StoreUnavailable,
    /// [`Error::Draining`]
    Draining,
    /// [`Error::Internal`]
    Internal,
}

impl Reason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 16] = [
        Self::InvalidRequest,
        Self::RequestIdReused,
        Self::SkuNotFound,
        Self::OrderNotFound,
        Self::OrderState,
        Self::InsufficientStock,
        Self::StockRemains,
        Self::BackordersRemain,
        Self::VersionMismatch,
        Self::VersionNotReached,
        Self::StockContention,
        Self::Overloaded,
        Self::TooManyWatches,
        Self::StoreUnavailable,
        Self::Draining,
        Self::Internal,
    ];

    /// As `google.rpc.ErrorInfo` and the metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::SkuNotFound => "SKU_NOT_FOUND",
            Self::OrderNotFound => "ORDER_NOT_FOUND",
            Self::OrderState => "ORDER_STATE",
            Self::InsufficientStock => "INSUFFICIENT_STOCK",
            Self::StockRemains => "STOCK_REMAINS",
            Self::BackordersRemain => "BACKORDERS_REMAIN",
            Self::VersionMismatch => "VERSION_MISMATCH",
            Self::VersionNotReached => "VERSION_NOT_REACHED",
            Self::StockContention => "STOCK_CONTENTION",
            Self::Overloaded => "OVERLOADED",
            Self::TooManyWatches => "TOO_MANY_WATCHES",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::Draining => "DRAINING",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request can succeed later without anybody changing it. Of
    /// [`Error::TooManyWatches`] this holds when others can end their streams, and not for a
    /// stream that asks for too many levels: it stays too large.
    pub fn retryable(self) -> bool {
        match self {
            Self::StockContention
            | Self::Overloaded
            | Self::TooManyWatches
            | Self::StoreUnavailable
            | Self::Draining => true,
            Self::InvalidRequest
            | Self::RequestIdReused
            | Self::SkuNotFound
            | Self::OrderNotFound
            | Self::OrderState
            | Self::InsufficientStock
            | Self::StockRemains
            | Self::BackordersRemain
            | Self::VersionMismatch
            | Self::VersionNotReached
            | Self::Internal => false,
        }
    }

    /// Whether it is this service that fell short, and not the request or the
    /// stock that it met.
    pub fn is_failure(self) -> bool {
        match self {
            Self::StockContention
            | Self::Overloaded
            | Self::TooManyWatches
            | Self::StoreUnavailable
            | Self::Draining
            | Self::Internal => true,
            Self::InvalidRequest
            | Self::RequestIdReused
            | Self::SkuNotFound
            | Self::OrderNotFound
            | Self::OrderState
            | Self::InsufficientStock
            | Self::StockRemains
            | Self::BackordersRemain
            | Self::VersionMismatch
            | Self::VersionNotReached => false,
        }
    }
}

/// A name that none of ours is: a newer server may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.as_str() == text).ok_or(UnknownReason)
    }
}

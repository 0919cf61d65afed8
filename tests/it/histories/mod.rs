//! Histories of many watchers, whatever happens, checked against the ledger.

mod planted;

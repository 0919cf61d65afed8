//! What the benches share; each includes this folder by its path.
//!
//! ```text
//! run       what ends a run early, and what failed in it (`signals`)
//! trial     servers on a database of their own
//! stock     databases with stock in them (`stores`), and their books
//! processes servers as child processes; servers: those of the tests
//! floor     what a server with nothing behind it stands on
//! load      generators as child processes
//! cpu       processor time and memory of processes; clock: one for all of them
//! numbers   medians; promises: verdicts (`tables`), and the file for programs (`files`)
//! canvas    charts
//! paper     what people read in the end; effort: how much is measured
//! machine   what it was measured on
//! ```

pub(crate) mod canvas;
pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod effort;
pub(crate) mod files;
pub(crate) mod floor;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod numbers;
pub(crate) mod paper;
pub(crate) mod processes;
pub(crate) mod promises;
pub(crate) mod run;
#[path = "../../tests/servers/mod.rs"]
pub(crate) mod servers;
mod signals;
pub(crate) mod stock;
pub(crate) mod stores;
pub(crate) mod tables;
pub(crate) mod trial;

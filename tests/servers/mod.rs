//! Private servers of other makers, for the tests, the benches and `make stack`.
//!
//! Owns their processes, folders and ports. Promises that they listen on 127.0.0.1
//! alone, meet no other server, and end with this process, however that ends. Knows
//! nothing of Stockroom; each user includes this folder by its path.

mod folder;
pub(crate) mod kafka;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;
mod replica;

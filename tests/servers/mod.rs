//! Private servers, Stockroom's and those of other makers, for the tests, the benches and
//! `make stack`.
//!
//! Owns their processes, and of the others' their folders and ports, too. Promises that those
//! listen on 127.0.0.1 alone, and that all meet no other server, and end with this process,
//! however that ends. Each user includes this folder by its path.

mod folder;
pub(crate) mod kafka;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod redis;
mod replica;
pub(crate) mod stockroom;

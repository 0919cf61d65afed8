//! How many streams there may be.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::config::WatchConfig;
use crate::error::{Error, WatchBound};
use crate::lock::lock;

/// Gives streams their place, which they hold until they end.
#[derive(Debug)]
pub(super) struct Permits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    streams_max: usize,
    per_connection_max: usize,
    open: Mutex<Open>,
}

/// The streams that are open.
#[derive(Debug, Default)]
struct Open {
    streams: usize,
    /// Of each connection that has any, by the address of its client.
    of_connection: HashMap<SocketAddr, usize>,
}

impl Permits {
    pub(super) fn new(config: &WatchConfig) -> Self {
        Self(Arc::new(Shared {
            streams_max: config.streams_max,
            per_connection_max: config.streams_per_connection_max,
            open: Mutex::default(),
        }))
    }

    /// A place for one more stream of the connection from `peer`.
    ///
    /// # Errors
    /// [`Error::TooManyWatches`]
    pub(super) fn take(&self, peer: Option<SocketAddr>) -> Result<Permit, Error> {
        let refuse = |bound, limit| Err(Error::TooManyWatches { bound, limit });
        let mut open = lock(&self.0.open);
        if open.streams >= self.0.streams_max {
            return refuse(WatchBound::Server, self.0.streams_max);
        }
        if let Some(peer) = peer {
            let of_connection = open.of_connection.entry(peer).or_default();
            if *of_connection >= self.0.per_connection_max {
                return refuse(WatchBound::Connection, self.0.per_connection_max);
            }
            *of_connection += 1;
        }
        open.streams += 1;
        let shared = Arc::clone(&self.0);
        Ok(Permit { shared, peer })
    }
}

/// The place of one stream, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    peer: Option<SocketAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.shared.open);
        open.streams -= 1;
        if let Some(peer) = self.peer
            && let Entry::Occupied(mut of_connection) = open.of_connection.entry(peer)
        {
            *of_connection.get_mut() -= 1;
            if *of_connection.get() == 0 {
                of_connection.remove();
            }
        }
    }
}

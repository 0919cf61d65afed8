//! Which servers share a load.

use futures_util::future::try_join_all;

use crate::cli::address::Address;
use crate::client::Client;
use crate::config::Config;

/// `--addr`, as often as there are servers.
#[derive(Debug, clap::Args)]
pub(super) struct Addresses {
    /// Server to call; again for each further one of the same store [default: the one on server.listen, http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    addr: Vec<String>,
}

impl Addresses {
    /// How many servers there are.
    pub(super) fn count(&self) -> usize {
        self.addr.len().max(1)
    }

    /// Opens `connections` to each; at least one client.
    pub(super) async fn connect(
        &self,
        config: &Config,
        connections: usize,
    ) -> anyhow::Result<Vec<Client>> {
        let given = self.addr.iter().cloned().map(Some);
        let mut servers: Vec<_> = given.map(Address::at).collect();
        if servers.is_empty() {
            servers.push(Address::at(None));
        }
        let clients = servers.iter().map(|it| it.connect(config, connections));
        try_join_all(clients).await
    }
}

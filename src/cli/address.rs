//! Which server a command calls.

use crate::client::Client;
use crate::config::Config;

/// The flag that every command which calls a server takes.
#[derive(Debug, clap::Args)]
pub(super) struct Address {
    /// Server to call [default: the one on server.listen, http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    addr: Option<String>,
}

impl Address {
    /// As if this were what the flag says.
    pub(super) fn at(addr: Option<String>) -> Self {
        Self { addr }
    }

    /// The server's URL.
    pub(super) fn url(&self, config: &Config) -> String {
        match &self.addr {
            Some(addr) => addr.clone(),
            // A server that listens everywhere is here, too.
            None => format!("http://{}", config.server.listen)
                .replace("//0.0.0.0:", "//127.0.0.1:")
                .replace("//[::]:", "//[::1]:"),
        }
    }

    /// Connects to it.
    pub(super) async fn connect(
        &self,
        config: &Config,
        connections: usize,
    ) -> anyhow::Result<Client> {
        let url = self.url(config);
        let connected = Client::connect(&url, connections).await;
        connected.map_err(|error| match error.is_refusal() {
            // It is no address: nothing can run there.
            true => anyhow::Error::new(error),
            false => anyhow::Error::new(error).context(format!(
                "cannot reach {url} (is `stockroom serve` running there?)"
            )),
        })
    }
}

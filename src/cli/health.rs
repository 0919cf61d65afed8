//! `stockroom health`: whether a server serves, for those who can only start a program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use super::address::Address;
use super::print::print;
use crate::config::Config;

/// A server that is well answers within milliseconds; containers are asked every few
/// seconds, and the next one must not wait for this one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Ask a server whether it serves
///
/// Exits 0 when it does, and 1 when it does not yet (its database is away, or
/// its schema is behind), no longer (it drains), or does not answer within two
/// seconds. For container health checks; Kubernetes and load balancers ask
/// grpc.health.v1.Health themselves.
///
/// Examples:
///
///   # The server that this configuration would start
///   stockroom health
///
///   # Another one
///   stockroom health --addr http://10.0.0.7:50051
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(args: HealthArgs, config: Config) -> anyhow::Result<ExitCode> {
    let url = args.address.url(&config);
    let asked = async {
        let client = args.address.connect(&config, 1).await?;
        let serves = client.serves().await;
        serves.with_context(|| format!("{url} does not say how it is"))
    };
    let serves = timeout(ANSWER_TIMEOUT, asked)
        .await
        .with_context(|| format!("{url} did not answer within {ANSWER_TIMEOUT:?}"))??;
    let (said, code) = match serves {
        true => ("serving", ExitCode::SUCCESS),
        false => ("not serving", ExitCode::FAILURE),
    };
    print([said.to_owned()])?;
    Ok(code)
}

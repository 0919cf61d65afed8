//! The command line: one file a command.
//!
//! Owns arguments, exit codes and what is printed. Commands that call a server
//! go through [`crate::client`], as any other caller does.

mod adjust;
mod cancel;
mod config;
mod confirm;
mod count;
mod delete_product;
mod demo;
mod events;
mod export;
mod extend;
mod get;
mod health;
mod import;
mod load;
mod migrate;
mod movements;
mod order;
mod orders;
mod products;
mod replay;
mod serve;
mod transfer;
mod watch;

// What several of them share.
mod address;
mod change;
mod latency;
mod options;
mod print;
mod progress;
mod put_products;
mod sheet;
mod shutdown;
mod table;
mod values;
mod write;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::client::ClientError;
use crate::config::Loaded;
use crate::error::in_one_line;
use crate::{server, telemetry};
use options::ConfigOptions;
use print::{escaped, tell};

/// An error in what the caller wrote: arguments (by clap) or configuration.
const EXIT_USAGE: u8 = 2;

/// What blocking work, such as a name look-up, may still take once a command is done.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(1);

/// An inventory and order service that never sells a unit twice.
///
/// `stockroom demo` shows it at work with nothing to set up; `stockroom serve`
/// runs it. Every command has examples in its `--help`.
#[derive(Debug, Parser)]
#[command(name = "stockroom", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    options: ConfigOptions,
    #[command(subcommand)]
    command: Command,
}

// Each command's help is the comment on its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Migrate(migrate::MigrateArgs),
    Demo(demo::DemoArgs),
    Replay(replay::ReplayArgs),
    Load(load::LoadArgs),
    Watch(watch::WatchArgs),
    Get(get::GetArgs),
    Adjust(adjust::AdjustArgs),
    Count(count::CountArgs),
    Transfer(transfer::TransferArgs),
    Order(order::OrderArgs),
    Confirm(confirm::ConfirmArgs),
    Extend(extend::ExtendArgs),
    Cancel(cancel::CancelArgs),
    Orders(orders::OrdersArgs),
    Movements(movements::MovementsArgs),
    Products(products::ProductsArgs),
    DeleteProduct(delete_product::DeleteProductArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Events(events::EventsArgs),
    Health(health::HealthArgs),
    Config(config::ConfigArgs),
}

/// Runs the command that the process was started with.
///
/// Exits 2 when the arguments or the configuration are wrong and 1 when the
/// command fails, with the reason on stderr.
pub fn run() -> ExitCode {
    let Arguments { options, command } = Arguments::parse();
    let loaded = match options.load(std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            tell(format_args!("error: {errors}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match execute(command, loaded) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("error: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &anyhow::Error) -> String {
    in_one_line(error.chain().map(|cause| {
        let from_server = cause.downcast_ref::<ClientError>();
        // What a server says is one line of ours, whatever is in it.
        from_server.map_or_else(|| cause.to_string(), |error| escaped(&error.to_string()))
    }))
}

fn execute(command: Command, mut loaded: Loaded) -> anyhow::Result<ExitCode> {
    let serves = matches!(command, Command::Serve(_));
    if !serves && loaded.is_default("log.filter") {
        // What these commands have to say they print.
        "warn".clone_into(&mut loaded.config.log.filter);
    }
    telemetry::init(&loaded.config.log)?;
    let runtime = if serves {
        server::runtime(&loaded.config.server)
    } else {
        // Commands that are a crowd of callers, the demo with a server among them.
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
    };
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(Box::pin(dispatch(command, loaded)));
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    result
}

async fn dispatch(command: Command, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let config = loaded.config.clone();
    match command {
        Command::Serve(args) => serve::run(args, config).await,
        Command::Migrate(args) => migrate::run(args, config).await,
        Command::Demo(args) => demo::run(args, config).await,
        Command::Replay(args) => replay::run(args, config).await,
        Command::Load(args) => load::run(args, config).await,
        Command::Watch(args) => watch::run(args, config).await,
        Command::Get(args) => get::run(args, config).await,
        Command::Adjust(args) => adjust::run(args, config).await,
        Command::Count(args) => count::run(args, config).await,
        Command::Transfer(args) => transfer::run(args, config).await,
        Command::Order(args) => order::run(args, config).await,
        Command::Confirm(args) => confirm::run(args, config).await,
        Command::Extend(args) => extend::run(args, config).await,
        Command::Cancel(args) => cancel::run(args, config).await,
        Command::Orders(args) => orders::run(args, config).await,
        Command::Movements(args) => movements::run(args, config).await,
        Command::Products(args) => products::run(args, config).await,
        Command::DeleteProduct(args) => delete_product::run(args, config).await,
        Command::Import(args) => import::run(args, config).await,
        Command::Export(args) => export::run(args, config).await,
        Command::Events(args) => events::run(args, config).await,
        Command::Health(args) => health::run(args, config).await,
        Command::Config(args) => config::run(&args, &loaded),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Arguments, chain};
    use crate::client::{ClientError, Code};

    #[test]
    fn an_error_shows_each_cause_once() {
        let error = anyhow::anyhow!("refused")
            .context("cannot connect: refused")
            .context("cannot migrate");
        assert_eq!(chain(&error), "cannot migrate: cannot connect: refused");
    }

    #[test]
    fn what_a_server_says_begins_no_line() {
        let error = ClientError {
            code: Code::Unknown,
            reason: String::new(),
            message: "no\nerror: yes".to_owned(),
            retry_after: None,
            request_id: None,
        };
        let error = anyhow::Error::new(error).context("cannot import\n  line 2");
        let told = "cannot import\n  line 2: UNKNOWN: no\\nerror: yes";
        assert_eq!(chain(&error), told);
    }

    #[test]
    fn the_arguments_of_all_commands_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        for command in Arguments::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("stockroom "), "{}", command.get_name());
            let example = format!("  stockroom {}", command.get_name());
            assert!(help.contains(&example), "{help}");
        }
    }
}

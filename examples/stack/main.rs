//! `make stack`: the whole stack on this machine, without containers.
//!
//! Starts a private PostgreSQL with a streaming replica, Redis, Apache Kafka, two instances of
//! `stockroom` and nginx before them, prints a tour, and stops everything on Ctrl-C or
//! SIGTERM. What scripts/setup-test-tools.sh did not find is left out, aloud. The servers
//! are those of the tests (tests/servers): on ports of their own, in temporary folders,
//! and ended with this process, however that ends.
//!
//! ```text
//! stack PROGRAM      the `stockroom` to run
//! ```

mod instance;
#[expect(dead_code, reason = "nothing is broken here, as tests do")]
#[path = "../../tests/servers/mod.rs"]
mod servers;
mod signals;
mod tour;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use instance::{Instance, run};
use servers::kafka::{self, Kafka};
use servers::{nginx, postgres, redis};

/// What is deployed, whose addresses are replaced by ours.
const NGINX: &str = include_str!("../../deploy/nginx/nginx.conf");

/// Enough to see that events of one product keep their order, and others do not wait.
const PARTITIONS: &str = "3";

/// Everything that runs. Dropped from top to bottom: whoever calls first.
struct Stack {
    nginx: Option<nginx::Server>,
    instances: [Instance; 2],
    kafka: Option<Arc<Kafka>>,
    redis: Option<redis::Server>,
    replica: Arc<postgres::Server>,
    database: postgres::Database,
}

fn main() -> anyhow::Result<()> {
    let program = std::env::args_os().nth(1).map(PathBuf::from);
    let program = program.context("say which stockroom to run: stack target/release/stockroom")?;
    let program = program
        .canonicalize()
        .with_context(|| format!("there is no {}", program.display()))?;
    // Before anything is started: a signal from here on ends it again.
    let signals = signals::listen()?;
    let began = Instant::now();
    let stack = start(program.clone())?;
    signals.started();
    tour::print(&stack, &program, began.elapsed());
    signals.wait();
    println!("stopping");
    drop(stack);
    println!("stopped");
    Ok(())
}

fn start(program: PathBuf) -> anyhow::Result<Stack> {
    println!("starting PostgreSQL and a replica");
    let primary = postgres::Server::start();
    let database = primary.database();
    let replica = primary.replica();
    let redis = redis::program().map(|_| {
        println!("starting Redis");
        redis::Server::start()
    });
    if redis.is_none() {
        println!("LEFT OUT: Redis, which setup-test-tools.sh did not find or was told to skip");
    }
    let kafka = kafka::is_installed().then(|| {
        println!("starting Apache Kafka");
        Kafka::start()
    });
    if kafka.is_none() {
        println!(
            "LEFT OUT: Apache Kafka, which setup-test-tools.sh did not find or was told to skip"
        );
    }
    let mut settings = vec![
        ("STOCKROOM_STORE_URL", database.url.clone()),
        ("STOCKROOM_STORE_REPLICAS", database.url_on(&replica)),
    ];
    if let Some(redis) = &redis {
        settings.push(("STOCKROOM_REDIS_URLS", redis.url()));
    }
    if let Some(kafka) = &kafka {
        settings.push(("STOCKROOM_EVENTS_BROKERS", kafka.brokers()));
        run(
            &program,
            &settings,
            &["events", "--create-topics", PARTITIONS],
        )?;
    }
    run(&program, &settings, &["migrate"])?;
    println!("starting two instances of stockroom");
    let instances = [
        Instance::start(&program, &settings)?,
        Instance::start(&program, &settings)?,
    ];
    let nginx = nginx::program().map(|nginx| {
        println!("starting nginx before them");
        nginx::Server::start(nginx, |listen| balance(listen, &instances))
    });
    if nginx.is_none() {
        println!("LEFT OUT: nginx, which setup-test-tools.sh did not find or was told to skip");
    }
    Ok(Stack {
        nginx,
        instances,
        kafka,
        redis,
        replica,
        database,
    })
}

/// nginx's configuration for these instances.
fn balance(listen: SocketAddr, instances: &[Instance; 2]) -> String {
    let [first, second] = instances.each_ref().map(|it| it.grpc.to_string());
    let addresses = [
        ("listen 50051 http2;", &*format!("listen {listen} http2;")),
        ("stockroom-1:50051", first.as_str()),
        ("stockroom-2:50051", second.as_str()),
    ];
    nginx::replaced(NGINX, &addresses)
}

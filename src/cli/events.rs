//! `stockroom events`: what other systems are told, in a terminal.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::print::{kind, print, print_raw, state, tell};
use super::shutdown;
use crate::client::proto::{MovementKind, Order, StockLevel};
use crate::config::Config;
use crate::events::{Body, OrderConfirmed, OrderExpired, Topic};
use crate::kafka::{Reader, Received, Start, Topics, make_topics};

/// How often topics that are not there are looked for.
const AGAIN: Duration = Duration::from_secs(1);

/// How often topics are looked at for partitions that have been added, and for those of them
/// that were not there: somebody may have done that and wait for what is shown.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);

/// Show the events that Kafka is told
///
/// Prints a line for each event of all topics as it comes, until Ctrl-C. Where Kafka is,
/// and what the topics are called, says the configuration (events.brokers,
/// events.topic_prefix).
///
/// Examples:
///
///   # From here on
///   stockroom events --set events.brokers=localhost:9092
///
///   # All that Kafka has kept, one JSON object a line
///   stockroom events --from-beginning --json
///
///   # Make the topics that are not there, with 12 partitions each, and end
///   stockroom events --create-topics 12
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EventsArgs {
    /// Begin with the oldest event that Kafka has kept
    #[arg(long)]
    from_beginning: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Make the topics that are not there, with so many partitions, and end
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    create_topics: Option<i32>,
}

pub(super) async fn run(args: EventsArgs, config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown::requested()?;
    let brokers = config.events.brokers();
    let brokers = brokers.context("events.brokers is off: nobody is told anything")?;
    let topics = Topics::new(&config.events.topic_prefix);
    if let Some(partitions) = args.create_topics {
        return make(brokers, &topics, partitions).await;
    }
    let reader = Reader::new(brokers, topics)?;
    tokio::select! {
        done = print_forever(&reader, &args) => done?,
        () = shutdown => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Names the topics that were made, whatever became of others.
async fn make(brokers: &str, topics: &Topics, partitions: i32) -> anyhow::Result<ExitCode> {
    let mut is_refused = false;
    for made in make_topics(brokers, topics, partitions).await? {
        match made {
            Ok(name) => {
                print([name])?;
            }
            Err(why) => {
                tell(why);
                is_refused = true;
            }
        }
    }
    if is_refused {
        bail!("not all topics are there");
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends when whoever reads it has seen enough.
async fn print_forever(reader: &Reader, args: &EventsArgs) -> io::Result<()> {
    let start = if args.from_beginning {
        Start::Beginning
    } else {
        Start::End
    };
    let mut said = None;
    loop {
        let problem = match reader.assign(&Topic::ALL, start).await {
            Ok(0) => "the topics are not there yet".to_owned(),
            Ok(_) => break,
            Err(error) => error.to_string(),
        };
        if said.as_ref() != Some(&problem) {
            tell(format_args!("waiting: {problem}"));
            said = Some(problem);
        }
        sleep(AGAIN).await;
    }
    tell("listening");
    let mut partitions = interval(PARTITIONS_INTERVAL);
    partitions.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = reader.next() => {
                let is_read = if args.json {
                    print_raw([in_json(&event).to_string()])?
                } else {
                    print([in_words(&event)])?
                };
                if !is_read {
                    return Ok(());
                }
            }
            // While no broker answers there is nothing to be read either.
            _ = partitions.tick() => {
                let _ = reader.assign(&Topic::ALL, start).await;
            }
        }
    }
}

fn in_words(event: &Received) -> String {
    let time = event.header("ce_time").unwrap_or("?");
    let topic = event.topic.name();
    let said = match Body::decode(event.topic, &event.body) {
        Ok(Body::StockUpdated(updated)) => {
            let level = updated.level.unwrap_or_default();
            let versions = if updated.first_version == level.version {
                format!("version {}", level.version)
            } else {
                format!("versions {} to {}", updated.first_version, level.version)
            };
            let causes = kinds(&updated.causes).join(", ");
            format!(
                "{}@{}: {} on hand, {} available; {versions} ({causes})",
                level.sku, level.location, level.on_hand, level.available
            )
        }
        Ok(Body::OrderCreated(created)) => order_in_words(created.order),
        Ok(Body::OrderConfirmed(confirmed)) => order_in_words(confirmed.order),
        Ok(Body::OrderExpired(expired)) => order_in_words(expired.order),
        Ok(Body::OrderCancelled(cancelled)) => {
            let restocked = match cancelled.restocked {
                true => "",
                false => "; not restocked",
            };
            format!("{}{restocked}", order_in_words(cancelled.order))
        }
        Ok(Body::StockLow(low)) => {
            let level = low.level.unwrap_or_default();
            format!(
                "{}@{}: {} available, of {} before; low at {}",
                level.sku,
                level.location,
                level.available,
                low.available_before,
                low.low_stock_threshold
            )
        }
        Err(error) => format!("{}: {error}", event.key),
    };
    format!("{time}  {topic:<21}  {said}")
}

fn order_in_words(order: Option<Order>) -> String {
    let order = order.unwrap_or_default();
    let lines = order
        .lines
        .iter()
        .map(|line| format!("{} of {}@{}", line.quantity, line.sku, line.location));
    let lines: Vec<String> = lines.collect();
    let state = state(order.state());
    let (id, request) = (&order.order_id, &order.request_id);
    format!("{id} ({request}), {state}: {}", lines.join(", "))
}

fn in_json(event: &Received) -> Value {
    let data = match Body::decode(event.topic, &event.body) {
        Ok(Body::StockUpdated(updated)) => json!({
            "first_version": updated.first_version,
            "level": updated.level.as_ref().map(level_json),
            "low_stock_threshold": updated.low_stock_threshold,
            "causes": kinds(&updated.causes),
        }),
        Ok(Body::OrderCreated(created)) => json!({
            "order": created.order.as_ref().map(order_json),
        }),
        Ok(Body::OrderConfirmed(OrderConfirmed { order }))
        | Ok(Body::OrderExpired(OrderExpired { order })) => json!({
            "order": order.as_ref().map(order_json),
        }),
        Ok(Body::OrderCancelled(cancelled)) => json!({
            "order": cancelled.order.as_ref().map(order_json),
            "state_before": cancelled.state_before().as_str_name(),
            "restocked": cancelled.restocked,
        }),
        Ok(Body::StockLow(low)) => json!({
            "level": low.level.as_ref().map(level_json),
            "low_stock_threshold": low.low_stock_threshold,
            "available_before": low.available_before,
        }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    json!({
        "topic": event.topic.name(),
        "key": event.key,
        "partition": event.partition,
        "offset": event.offset,
        "id": event.header("ce_id"),
        "source": event.header("ce_source"),
        "type": event.header("ce_type"),
        "time": event.header("ce_time"),
        "traceparent": event.header("traceparent"),
        "data": data,
    })
}

fn level_json(level: &StockLevel) -> Value {
    json!({
        "sku": level.sku,
        "location": level.location,
        "on_hand": level.on_hand,
        "reserved": level.reserved,
        "available": level.available,
        "version": level.version,
        "low_stock": level.low_stock,
        "backorder_limit": level.backorder_limit,
        "update_time": level.update_time.as_ref().map(ToString::to_string),
    })
}

fn order_json(order: &Order) -> Value {
    let lines = order.lines.iter().map(|line| {
        json!({
            "sku": line.sku,
            "location": line.location,
            "quantity": line.quantity,
            "version": line.version,
            "backordered": line.backordered,
        })
    });
    json!({
        "order_id": order.order_id,
        "request_id": order.request_id,
        "state": order.state().as_str_name(),
        "lines": lines.collect::<Value>(),
        "customer_ref": order.customer_ref,
        "labels": order.labels,
        "create_time": order.create_time.as_ref().map(ToString::to_string),
        "update_time": order.update_time.as_ref().map(ToString::to_string),
        "version": order.version,
        "expire_time": order.expire_time.as_ref().map(ToString::to_string),
        "cancel_reason": order.cancel_reason,
    })
}

fn kinds(numbers: &[i32]) -> Vec<&'static str> {
    let kinds = numbers.iter();
    let kinds = kinds.map(|number| kind(MovementKind::try_from(*number).unwrap_or_default()));
    kinds.collect()
}

//! What Kafka was told: topics of a test's own, everything in them, and whether that is
//! what was committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use stockroom::client::proto::{OrderCreated, StockUpdated};
use stockroom::config::Config;
use stockroom::events::Topic;
use stockroom::storage::{Access, LevelFilter, Store};

use crate::fixture::{DEADLINE, Home, not_run};
use crate::servers::kafka::{self, Kafka};

/// How many partitions the topics have: order is kept within each key alone.
const PARTITIONS: i32 = 3;

/// How long a broker may take to answer on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// How often the outbox is looked at; its rows are counted each time, which costs the relay.
const POLL: Duration = Duration::from_millis(50);

/// The broker of the process, unless Kafka is not installed, which is said aloud.
pub(super) fn shared_kafka() -> Option<Arc<Kafka>> {
    is_installed().then(|| Arc::clone(kafka::shared()))
}

/// A broker of the test's own, as [`shared_kafka`].
pub(super) fn private_kafka() -> Option<Arc<Kafka>> {
    is_installed().then(Kafka::start)
}

fn is_installed() -> bool {
    let is_installed = kafka::is_installed();
    if !is_installed {
        not_run("with Apache Kafka: it is not installed; `make test` installs it");
    }
    is_installed
}

/// Topics of a test's own.
pub(super) struct Told {
    pub(super) kafka: Arc<Kafka>,
    pub(super) prefix: String,
}

/// A message as a consumer gets it.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) topic: Topic,
    pub(super) key: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Told {
    /// Makes the topics.
    pub(super) async fn on(kafka: Arc<Kafka>) -> Self {
        let told = Self::without_topics(kafka);
        told.make_all(Topic::ALL.map(|topic| (topic, &[][..])))
            .await;
        told
    }

    /// Makes the topics, one of them with settings of Kafka's.
    pub(super) async fn on_with(
        kafka: Arc<Kafka>,
        special: Topic,
        settings: &[(&str, &str)],
    ) -> Self {
        let told = Self::without_topics(kafka);
        let of = |topic| if topic == special { settings } else { &[] };
        told.make_all(Topic::ALL.map(|topic| (topic, of(topic))))
            .await;
        told
    }

    pub(super) fn without_topics(kafka: Arc<Kafka>) -> Self {
        let prefix = kafka::prefix();
        Self { kafka, prefix }
    }

    /// Makes one topic, with settings of Kafka's.
    pub(super) async fn make(&self, topic: Topic, settings: &[(&str, &str)]) {
        self.make_all([(topic, settings)]).await;
    }

    /// In one call, since each client waits for a thread of its own when it ends.
    async fn make_all<const N: usize>(&self, topics: [(Topic, &[(&str, &str)]); N]) {
        let names = topics.map(|(topic, _)| format!("{}{}", self.prefix, topic.name()));
        let new = topics
            .iter()
            .zip(&names)
            .map(|((_, settings), name)| NewTopic {
                config: settings.to_vec(),
                ..NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))
            });
        let new: Vec<_> = new.collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let made = self.admin().create_topics(&new, &options).await.unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    pub(super) fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.brokers());
        config.create().unwrap()
    }

    /// Makes a server tell.
    pub(super) fn configure(&self, config: &mut Config) {
        config.events.brokers = self.kafka.brokers();
        config.events.topic_prefix.clone_from(&self.prefix);
    }

    /// The same as options of `stockroom serve`.
    pub(super) fn options(&self) -> Vec<String> {
        let brokers = format!("events.brokers={}", self.kafka.brokers());
        let prefix = format!("events.topic_prefix={}", self.prefix);
        vec!["--set".into(), brokers, "--set".into(), prefix]
    }

    /// Everything that is in the topics, each partition in its order.
    pub(super) async fn read(&self) -> Vec<Heard> {
        let (brokers, prefix) = (self.kafka.brokers(), self.prefix.clone());
        let read = move || read(&brokers, &prefix);
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// Waits until the outbox is empty, and fails unless Kafka was told what was
    /// committed and nothing else: every order, every version of every level, and each
    /// level's first occurrences in order and without a gap. Returns all of it.
    pub(super) async fn check(&self, home: &Home, orders: &BTreeSet<String>) -> Vec<Heard> {
        let store = Store::open(&home.store_config(), Access::Read)
            .await
            .unwrap();
        drained(&store).await;
        let heard = self.read().await;
        let of_orders = heard.iter().filter(|it| it.topic == Topic::OrderCreated);
        let told: BTreeSet<String> = of_orders
            .map(|it| {
                let order = OrderCreated::decode(&*it.body).unwrap().order.unwrap();
                assert_eq!(order.order_id, it.key);
                order.order_id
            })
            .collect();
        assert_eq!(&told, orders);
        let everything = LevelFilter {
            sku_prefix: "",
            location: None,
            low_only: false,
        };
        let levels = store.list_levels(None, &everything, 100_000).await.unwrap();
        let levels = levels.levels.into_iter();
        let levels: BTreeMap<(String, String), i64> = levels
            .map(|level| {
                let key = (level.key.sku.to_string(), level.key.location.to_string());
                (key, level.version.number())
            })
            .collect();
        assert_eq!(versions(&heard), levels);
        store.close().await;
        heard
    }
}

/// Waits until the outbox is empty. What is bounded is a standstill: after half an hour of
/// chaos there are a hundred thousand rows.
async fn drained(store: &Store) {
    let mut outbox = store.outbox();
    let mut before = None;
    let mut moved = Instant::now();
    loop {
        let Some(oldest) = outbox.backlog().await.unwrap().oldest else {
            return;
        };
        if before.replace(oldest) != Some(oldest) {
            moved = Instant::now();
        }
        assert!(moved.elapsed() < DEADLINE, "the outbox stands still");
        tokio::time::sleep(POLL).await;
    }
}

/// The last version of each level, all that come before it told in order.
fn versions(heard: &[Heard]) -> BTreeMap<(String, String), i64> {
    let mut last = BTreeMap::new();
    for it in heard.iter().filter(|it| it.topic == Topic::StockUpdated) {
        let updated = StockUpdated::decode(&*it.body).unwrap();
        let level = updated.level.unwrap();
        assert_eq!(level.sku, it.key);
        let last = last.entry((level.sku, level.location)).or_insert(0);
        if level.version > *last {
            assert_eq!(updated.first_version, *last + 1, "a gap of {}", it.key);
            *last = level.version;
        } else {
            assert!(
                updated.first_version <= *last,
                "half a repeat of {}",
                it.key
            );
        }
    }
    last
}

/// The ids of all orders in a store on PostgreSQL.
pub(super) fn orders_of(home: &Home) -> BTreeSet<String> {
    let ids = home.sql("SELECT order_id FROM orders");
    ids.lines().map(str::to_owned).collect()
}

fn read(brokers: &str, prefix: &str) -> Vec<Heard> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut left = HashMap::new();
    for topic in Topic::ALL {
        let name = format!("{prefix}{}", topic.name());
        for partition in 0..PARTITIONS {
            let (low, high) = consumer.fetch_watermarks(&name, partition, ANSWER).unwrap();
            if high > low {
                let start = Offset::Beginning;
                assignment
                    .add_partition_offset(&name, partition, start)
                    .unwrap();
                left.insert((name.clone(), partition), high);
            }
        }
    }
    consumer.assign(&assignment).unwrap();
    let mut heard = Vec::new();
    while !left.is_empty() {
        // A bound on silence: after half an hour of chaos there are a million to read.
        let message = consumer.poll(DEADLINE);
        let message = message.unwrap_or_else(|| panic!("{left:?} is missing"));
        let message = message.unwrap();
        let place = (message.topic().to_owned(), message.partition());
        let name = place.0.strip_prefix(prefix).unwrap();
        let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
        let headers = message.headers().unwrap().iter().map(|header| {
            let value = String::from_utf8(header.value.unwrap().to_vec()).unwrap();
            (header.key.to_owned(), value)
        });
        heard.push(Heard {
            topic: topic.unwrap(),
            key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
            headers: headers.collect(),
            body: message.payload().unwrap().to_vec(),
        });
        if left
            .get(&place)
            .is_some_and(|high| message.offset() + 1 >= *high)
        {
            left.remove(&place);
        }
    }
    heard
}

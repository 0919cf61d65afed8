//! The cache: committed stock levels in Redis, for reads.
//!
//! Owns what lies in Redis under a level's name. Promises that whatever it hands out was
//! committed, in the store that is being served, and that it never gives up a version
//! for an older one: a script compares them. It is a copy that may be old (as old as
//! `cache.ttl_ms`, when the write that follows a commit got lost), so callers compare
//! the version with the one that they need. A Redis that is slow or gone is a cache that
//! has nothing. Leaves to `reads` where else to look, and to nobody any decision about
//! stock, but for `refusals`.
//!
//! Levels at version 0 are left out: what is shown of them can change without a new
//! version (the first threshold of a product), so that no later write would be newer.
//!
//! Keys are `stockroom:1:STORE_ID:level:SKU@LOCATION`. A store that lost commits has a
//! new id, so what the old one cached is never read again.

mod entry;
mod pending;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::Cmd;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::entry::Entry;
use self::pending::Pending;
use crate::config::CacheConfig;
use crate::domain::{LevelKey, StockLevel};
use crate::gather::Gather;
use crate::redis_link::{Link, Unanswered, key_prefix};
use crate::tasks::Tasks;
use crate::telemetry::CacheCounters;

/// Most levels of one question: a Redis is busy with it for some 100 µs.
const LEVELS_AT_ONCE_MAX: usize = 512;

/// Questions have this part of `redis.timeout_ms` at least, however long they have waited.
const TIMEOUT_SHARE_MIN: u32 = 5;

/// What the cache has of the levels asked for, in their order.
pub(crate) type Found = Vec<Option<StockLevel>>;

/// A handle on the cache; clones share it.
#[derive(Clone)]
pub(crate) struct Cache {
    shared: Arc<Shared>,
    /// Ask and write; end with the last handle.
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

struct Shared {
    link: Link,
    ttl: Duration,
    /// What the names of the served store's levels begin with, once that is known.
    prefix: OnceLock<String>,
    questions: Gather<Question, Option<Found>>,
    /// Committed here, and perhaps not in Redis yet.
    pending: Pending,
    counters: CacheCounters,
}

/// What a caller asks, and since when.
#[derive(Debug)]
struct Question {
    keys: Vec<LevelKey>,
    since: Instant,
}

impl Question {
    fn of(keys: Vec<LevelKey>) -> Self {
        let since = Instant::now();
        Self { keys, since }
    }
}

impl Cache {
    /// A cache that has nothing until it is told which store is being served. Its tasks
    /// run on this runtime.
    pub(crate) fn start(
        config: &CacheConfig,
        link: Link,
        counters: CacheCounters,
        tasks: &Tasks,
    ) -> Self {
        let shared = Arc::new(Shared {
            link,
            ttl: config.ttl(),
            prefix: OnceLock::new(),
            questions: Gather::default(),
            pending: Pending::new(config.writes_max, config.ttl(), counters.clone()),
            counters,
        });
        let asking = ask_forever(Arc::clone(&shared));
        let writing = pending::write_forever(Arc::clone(&shared));
        let started = [
            tasks.start("the reader of the cache", asking),
            tasks.start("the writer of the cache", writing),
        ];
        Self {
            shared,
            _tasks: Arc::new(started),
        }
    }

    /// To be told which store is served, before anything is read or written there. A cache
    /// serves one store: a server that finds another one begins anew.
    pub(crate) fn serve(&self, store_id: Uuid) {
        self.shared
            .prefix
            .get_or_init(|| key_prefix(store_id, "level"));
    }

    /// To be told of every commit, and of what was read: levels of the store as they were
    /// committed. Keeps those that are newer than what waits to be written. Does not block.
    pub(crate) fn offer<'a>(&self, levels: impl IntoIterator<Item = &'a StockLevel>) {
        let entries = levels.into_iter().cloned().map(Entry::Level);
        self.shared.pending.add(entries);
    }

    /// To be told of levels whose product was deleted, as they are since: they are not found
    /// any more, so that whoever asks is told by the database that the SKU is unknown.
    pub(crate) fn forget(&self, levels: &[StockLevel]) {
        let entry = |level: &StockLevel| Entry::Deleted(level.key.clone(), level.version);
        self.shared.pending.add(levels.iter().map(entry));
    }

    /// What the cache has of `keys`; none when it cannot be asked, or has not answered
    /// within about `redis.timeout_ms`. Counts nothing, since whether that is enough is the
    /// caller's to say.
    pub(crate) async fn find(&self, keys: Vec<LevelKey>) -> Option<Found> {
        let shared = &self.shared;
        if !shared.link.is_connected() {
            return None;
        }
        let Some(waiting) = shared.pending.look_up(&keys, Instant::now()) else {
            return shared.questions.ask(Question::of(keys)).await?;
        };
        if waiting.iter().all(Option::is_some) {
            let levels = waiting.into_iter().map(|it| it?.into_level());
            return Some(levels.collect());
        }
        let asked = shared.questions.ask(Question::of(keys)).await??;
        let each = waiting.into_iter().zip(asked);
        let levels = each.map(|(waiting, asked)| waiting.map_or(asked, Entry::into_level));
        Some(levels.collect())
    }

    /// What is counted.
    pub(crate) fn counters(&self) -> &CacheCounters {
        &self.shared.counters
    }
}

/// Answers whatever callers asked while the last questions were on their way.
async fn ask_forever(shared: Arc<Shared>) {
    loop {
        let next = shared
            .questions
            .next(LEVELS_AT_ONCE_MAX, |question| question.keys.len());
        let (questions, replies) = next.await;
        let answers = shared.ask(questions).await;
        for (reply, answer) in replies.into_iter().zip(answers) {
            // One that hung up needs no answer.
            let _ = reply.send(answer);
        }
    }
}

impl Shared {
    /// An answer for each question, in their order.
    async fn ask(&self, questions: Vec<Question>) -> Vec<Option<Found>> {
        let none = || vec![None; questions.len()];
        let Some(prefix) = self.prefix.get() else {
            return none();
        };
        // What many ask for is asked for once.
        let (mut keys, mut places) = (Vec::new(), HashMap::new());
        let asked = questions.iter().flat_map(|it| &it.keys).map(|key| {
            *places.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        });
        let asked: Vec<usize> = asked.collect();
        let deadline = self.deadline(&questions);
        let Ok(found) = self.look_up(prefix, &keys, deadline).await else {
            return none();
        };
        let mut found = asked.into_iter().map(|place| found[place].clone());
        let answer = |question: &Question| found.by_ref().take(question.keys.len()).collect();
        questions.iter().map(answer).map(Some).collect()
    }

    /// Until when `questions`, of which the first has waited longest, are asked. The wait for
    /// those before them counts, so that a frozen Redis costs nobody the time of two; but a
    /// machine that was busy for a while gets a chance.
    fn deadline(&self, questions: &[Question]) -> Instant {
        let (now, timeout) = (Instant::now(), self.link.timeout());
        let oldest = questions.first().map_or(now, |question| question.since);
        (oldest + timeout).max(now + timeout / TIMEOUT_SHARE_MIN)
    }

    async fn look_up(
        &self,
        prefix: &str,
        keys: &[&LevelKey],
        deadline: Instant,
    ) -> Result<Found, Unanswered> {
        let names = keys.iter().map(|key| format!("{prefix}{key}"));
        let values: Vec<Option<Vec<u8>>> = if self.link.is_cluster() {
            self.look_up_each(names, deadline).await?
        } else {
            let mut command = Cmd::new();
            command.arg("MGET");
            names.for_each(|name| {
                command.arg(name);
            });
            self.link.ask_until(&command, deadline).await?
        };
        let levels = keys.iter().zip(values);
        Ok(levels
            .map(|(key, value)| entry::decode(key, &value?))
            .collect())
    }

    /// Each by itself, so that a part of the cluster that is away takes its own keys along
    /// and no others. A third of the time is what stragglers have: whoever comes behind
    /// these questions waits for them and for their own, and gets what the other parts
    /// have within the whole.
    async fn look_up_each(
        &self,
        names: impl Iterator<Item = String>,
        deadline: Instant,
    ) -> Result<Vec<Option<Vec<u8>>>, Unanswered> {
        let commands = names.map(|name| {
            let mut command = Cmd::new();
            command.arg("GET").arg(name);
            command
        });
        let commands: Vec<Cmd> = commands.collect();
        let patience = self.link.timeout() / 3;
        let answers = self
            .link
            .ask_each::<Option<Vec<u8>>>(&commands, deadline, patience)
            .await;
        if answers.iter().all(Result::is_err) {
            return Err(Unanswered);
        }
        Ok(answers.into_iter().map(|it| it.ok().flatten()).collect())
    }
}

//! Locks in Redis: who may try to change a level, as long as nothing goes wrong.
//!
//! Promises mutual exclusion only while Redis keeps its keys and holders are faster than
//! the life of a lock; a holder that was paused may find its lock taken. So a lock
//! saves work and proves nothing: what is written under it must be guarded otherwise.
//!
//! A lock is `SET key token NX PX life`, with a random token, and given back by a script
//! that deletes the key only if the token is still there. Several are taken in the order
//! in which they are named, and nobody waits for one while holding a later one, so that
//! holders who all name them in ascending order cannot wait in a ring. On a cluster each
//! lock is asked for by itself: no script names two keys, so none needs a hash tag.

use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt as _;
use redis::Cmd;
use tokio::time::{Instant, sleep};

use super::{Link, Unanswered};
use crate::telemetry;

/// Takes locks up to the first that somebody else has; says how many those are.
const TAKE: &str = "\
for i, key in ipairs(KEYS) do
  if not redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then return i - 1 end
end
return #KEYS";

/// Gives back those that are still ours; says how many those are.
const GIVE_BACK: &str = "\
local ours = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then ours = ours + redis.call('DEL', key) end
end
return ours";

/// Longest random wait before a lock that somebody has is asked for again: about one
/// commit.
const POLL_MAX: Duration = Duration::from_millis(3);

/// Takes locks.
#[derive(Clone)]
pub(crate) struct Locks {
    link: Link,
    life: Duration,
    wait_max: Duration,
    metrics: telemetry::RedisLocks,
}

/// Locks that were taken. To be given back; those that are not end by themselves.
#[must_use = "locks that are not given back last as long as they live"]
pub(crate) struct Held {
    names: Vec<String>,
    token: String,
    locks: Locks,
}

impl Held {
    /// Gives them back, for which nothing needs to wait.
    pub(crate) async fn give_back(self) {
        if self.names.is_empty() {
            return;
        }
        if let Some(ours) = self.locks.release(&self.names, &self.token).await {
            let lost = self.names.len().saturating_sub(ours);
            self.locks.metrics.lost.add(lost as u64);
        }
    }
}

impl Locks {
    /// Locks that live for `life`, and are waited for as long as `wait_max`.
    pub(crate) fn new(
        link: Link,
        life: Duration,
        wait_max: Duration,
        metrics: telemetry::RedisLocks,
    ) -> Self {
        Self {
            link,
            life,
            wait_max,
            metrics,
        }
    }

    /// Takes the locks `names`, which ascend. Returns those that could be had in time:
    /// none if Redis is away, the first few if somebody has the next one.
    pub(crate) async fn take(&self, names: Vec<String>) -> Held {
        let token = format!("{:032x}", rand::rng().random::<u128>());
        let began = Instant::now();
        let mut taken = 0;
        while taken < names.len() {
            match self.take_some(&names[taken..], &token).await {
                Ok(some) => taken += some,
                Err(Unanswered) => {
                    self.metrics.unavailable.add(1);
                    // It may have been taken all the same.
                    let (locks, names) = (self.clone(), names);
                    let theirs = token.clone();
                    tokio::spawn(async move { locks.release(&names, &theirs).await });
                    return self.held(Vec::new(), token);
                }
            }
            if taken == names.len() {
                break;
            }
            if began.elapsed() >= self.wait_max {
                self.metrics.timeouts.add(1);
                break;
            }
            let wait = rand::rng().random_range(0.0..=POLL_MAX.as_secs_f64());
            sleep(Duration::from_secs_f64(wait)).await;
        }
        self.metrics.wait.record_time(began.elapsed());
        let mut names = names;
        names.truncate(taken);
        self.held(names, token)
    }

    /// Takes locks up to the first that somebody else has.
    async fn take_some(&self, names: &[String], token: &str) -> Result<usize, Unanswered> {
        let life = self.life.as_millis() as u64;
        if !self.link.is_cluster() {
            let mut take = Cmd::new();
            take.arg("EVAL").arg(TAKE).arg(names.len()).arg(names);
            return self.link.ask(take.arg(token).arg(life)).await;
        }
        // All at once; those behind the first that somebody has are given back.
        let asked = join_all(names.iter().map(async |name| {
            let mut take = Cmd::new();
            take.arg("SET")
                .arg(name)
                .arg(token)
                .arg("NX")
                .arg("PX")
                .arg(life);
            self.link.ask::<Option<String>>(&take).await
        }));
        let answers = asked.await;
        let first_failed = answers
            .iter()
            .position(|answer| !matches!(answer, Ok(Some(_))));
        let taken = first_failed.unwrap_or(names.len());
        let behind = names.iter().zip(&answers).skip(taken);
        let behind = behind.filter(|(_, answer)| !matches!(answer, Ok(None)));
        let behind: Vec<String> = behind.map(|(name, _)| name.clone()).collect();
        if !behind.is_empty() {
            self.release(&behind, token).await;
        }
        if answers.iter().any(Result::is_err) {
            return Err(Unanswered);
        }
        Ok(taken)
    }

    fn held(&self, names: Vec<String>, token: String) -> Held {
        let locks = self.clone();
        Held {
            names,
            token,
            locks,
        }
    }

    /// How many of `names` were still ours; none if Redis did not say.
    async fn release(&self, names: &[String], token: &str) -> Option<usize> {
        let release = async |names: &[String]| {
            let mut give_back = Cmd::new();
            give_back.arg("EVAL").arg(GIVE_BACK);
            give_back.arg(names.len()).arg(names).arg(token);
            self.link.ask::<usize>(&give_back).await.ok()
        };
        if self.link.is_cluster() {
            join_all(names.chunks(1).map(release))
                .await
                .into_iter()
                .sum()
        } else {
            release(names).await
        }
    }
}

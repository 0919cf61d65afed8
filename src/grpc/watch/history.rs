//! The EVERY_CHANGE part of a stream: the ledger read onwards, version by version.
//!
//! Begins with the present values of the levels, for those that the caller has not
//! seen, then reads on from what it has seen, at the reader's pace: nothing is read
//! while a page waits to be sent. Commits only wake it; every value comes from the
//! ledger. Memory is O(targets) and a page.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, Sleep, sleep_until};

use super::cursor::{Cursor, Gap};
use super::snapshot::Snapshot;
use super::turns::{Turns, unattended};
use crate::domain::{LevelKey, StockLevel, Version};
use crate::feed::Watch;
use crate::storage::{ChangesPage, StorageError, Store};

/// Levels that one statement asks about, and movements that it returns at most: a
/// message of about 100 KB.
pub(super) const PAGE_ROWS: usize = 1_000;

/// How long a stream waits after a page before it reads the next one of what is new:
/// what many commits a second change is read a hundred times a second at most. What
/// lies behind is read without a pause.
const PAUSE: Duration = Duration::from_millis(10);

/// What a stream has to do next.
pub(super) enum Step {
    /// Send levels; with `reset`, in place of what the caller knows of them.
    Send {
        levels: Vec<StockLevel>,
        reset: bool,
        /// They have just been committed; nothing is sent that lies behind.
        live: bool,
    },
    /// Say that everything that was there at the begin has been sent.
    Synced,
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Store(#[from] StorageError),
    #[error("the ledger has a hole")]
    Ledger(#[from] Gap),
}

type Asked = Vec<(LevelKey, Version)>;
type Read = (Asked, Result<ChangesPage, StorageError>);

/// How far a stream has come.
pub(super) struct History {
    store: Store,
    turns: Turns,
    cursor: Cursor,
    begin: Option<Begin>,
    is_synced: bool,
    reading: Option<BoxFuture<'static, Read>>,
    /// Until when nothing is read.
    pause: Pin<Box<Sleep>>,
    /// Levels to send before anything else, in place of what the caller knows.
    reset: Vec<StockLevel>,
}

/// What is forgotten when every level has been begun.
struct Begin {
    snapshot: Snapshot,
    /// The versions that the caller has seen, of levels that were not met yet.
    seen: HashMap<LevelKey, Version>,
    /// They are another store's.
    anew: bool,
}

impl History {
    /// `snapshot` reads the levels; none of it may have been read before the watch began.
    pub(super) fn new(
        store: Store,
        turns: Turns,
        snapshot: Snapshot,
        seen: HashMap<LevelKey, Version>,
        anew: bool,
    ) -> Self {
        Self {
            store,
            turns,
            cursor: Cursor::default(),
            begin: Some(Begin {
                snapshot,
                seen,
                anew,
            }),
            is_synced: false,
            reading: None,
            pause: Box::pin(sleep_until(Instant::now())),
            reset: Vec::new(),
        }
    }

    /// Waits for the next thing to do.
    pub(super) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        watch: &Watch,
    ) -> Poll<Result<Step, Broken>> {
        loop {
            if !self.reset.is_empty() {
                return Poll::Ready(Ok(Step::Send {
                    levels: std::mem::take(&mut self.reset),
                    reset: true,
                    live: false,
                }));
            }
            // What the watch is told of stays in its mailbox until all levels have begun:
            // a page of them may have been read before what it tells of.
            let levels = if self.begin.is_some() {
                ready!(self.poll_begin(cx))?
            } else if !self.is_synced && self.cursor.is_caught_up() {
                self.is_synced = true;
                return Poll::Ready(Ok(Step::Synced));
            } else {
                self.hear(cx, watch);
                ready!(self.poll_page(cx))?
            };
            if !levels.is_empty() {
                return Poll::Ready(Ok(Step::Send {
                    levels,
                    reset: false,
                    live: self.is_synced,
                }));
            }
        }
    }

    /// Takes the next page of present values and returns those of levels that the
    /// caller has not seen.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<StockLevel>, StorageError>> {
        let Some(begin) = &mut self.begin else {
            return Poll::Ready(Ok(Vec::new()));
        };
        let Some(page) = ready!(begin.snapshot.poll_page(cx)) else {
            self.begin = None;
            return Poll::Ready(Ok(Vec::new()));
        };
        let mut unseen = Vec::new();
        let (levels, _) = page?;
        for level in levels {
            let (key, present) = (level.key.clone(), level.version);
            let has = match begin.seen.remove(&key) {
                Some(seen) if seen <= present && !begin.anew => seen,
                None if !begin.anew => {
                    unseen.push(level);
                    present
                }
                // The store is another one, or has lost commits.
                _ => {
                    self.reset.push(level);
                    present
                }
            };
            self.cursor.begin(key, has, present);
        }
        Poll::Ready(Ok(unseen))
    }

    /// Takes what the watch was told of. Its values are not used: there may be others
    /// in between.
    fn hear(&mut self, cx: &Context<'_>, watch: &Watch) {
        while let Poll::Ready(changed) = watch.poll_changed(cx, PAGE_ROWS) {
            for update in changed.updates {
                self.cursor.hear(&update.level.key, update.level.version);
            }
        }
    }

    /// Waits for the next page of the ledger.
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<StockLevel>, Broken>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None if !self.cursor.is_due() => return Poll::Pending,
            None => {
                ready!(self.pause.as_mut().poll(cx));
                let reading = self.read();
                self.reading.insert(reading)
            }
        };
        let (asked, page) = ready!(reading.poll_unpin(cx));
        self.reading = None;
        let page = page?;
        self.cursor.advance(asked, &page)?;
        if !page.cut {
            self.pause.as_mut().reset(Instant::now() + PAUSE);
        }
        Poll::Ready(Ok(page.levels))
    }

    /// Begins to read the next page.
    fn read(&mut self) -> BoxFuture<'static, Read> {
        let asked = self.cursor.next(PAGE_ROWS);
        let (store, turns) = (self.store.clone(), self.turns.clone());
        unattended(async move {
            let _turn = turns.take().await;
            let page = store.read_changes_after(&asked, PAGE_ROWS).await;
            (asked, page)
        })
    }
}

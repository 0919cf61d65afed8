//! The mailbox of one watch.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::slot::{Registration, Slot};
use super::targets::Selectors;
use crate::lock::lock;

/// Places that an empty mailbox keeps, where it once had more.
const KEPT_MAX: usize = 64;

/// What the feed knows of a watch.
#[derive(Default)]
pub(super) struct Watcher {
    /// What it selects; none if it names all its levels.
    pub(super) selectors: Option<Box<Selectors>>,
    /// Its number among those that select.
    pub(super) number: u64,
    mailbox: Mutex<Mailbox>,
    /// Its registrations, by the slot's id.
    registrations: Mutex<HashMap<usize, Arc<Registration>>>,
}

#[derive(Default)]
struct Mailbox {
    /// Levels that changed since the watch last looked, each once.
    changed: VecDeque<Arc<Registration>>,
    /// Whom to wake.
    waker: Option<Waker>,
}

impl Watcher {
    pub(super) fn selecting(number: u64, selectors: Selectors) -> Self {
        Self {
            selectors: Some(Box::new(selectors)),
            number,
            ..Self::default()
        }
    }

    /// Puts a registration into the mailbox; it must not be there.
    pub(super) fn put(&self, it: Arc<Registration>) {
        let waker = {
            let mut mailbox = lock(&self.mailbox);
            mailbox.changed.push_back(it);
            mailbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for something in the mailbox, and says how much there is.
    pub(super) fn poll_waiting(&self, cx: &Context<'_>) -> Poll<usize> {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.changed.is_empty() {
            match &mut mailbox.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(mailbox.changed.len())
    }

    /// Takes a registration out of the mailbox.
    pub(super) fn pop(&self) -> Option<Arc<Registration>> {
        let mut mailbox = lock(&self.mailbox);
        let it = mailbox.changed.pop_front()?;
        if mailbox.changed.is_empty() && mailbox.changed.capacity() > KEPT_MAX {
            mailbox.changed = VecDeque::new();
        }
        drop(mailbox);
        // Before its value is read: what comes from now on puts it in again.
        it.queued.store(false, Ordering::Release);
        Some(it)
    }

    /// The watch's registration with a slot.
    pub(super) fn registration(&self, slot: &Arc<Slot>) -> Option<Arc<Registration>> {
        lock(&self.registrations).get(&slot.id()).cloned()
    }

    /// Keeps a registration.
    pub(super) fn keep(&self, it: Arc<Registration>) {
        lock(&self.registrations).insert(it.slot.id(), it);
    }

    /// How many registrations there are.
    pub(super) fn registered(&self) -> usize {
        lock(&self.registrations).len()
    }

    /// Lets go of a registration.
    pub(super) fn let_go(&self, it: &Registration) {
        lock(&self.registrations).remove(&it.slot.id());
    }

    /// Lets go of all registrations, and returns them. They and the watcher hold
    /// each other, so nothing would be freed without this.
    pub(super) fn let_all_go(&self) -> HashMap<usize, Arc<Registration>> {
        std::mem::take(&mut *lock(&self.registrations))
    }

    /// Empties the mailbox, whose registrations hold the watcher as well. To be
    /// called when none is in its slot's list any more: until then a walk may put
    /// one in again.
    pub(super) fn close(&self) {
        *lock(&self.mailbox) = Mailbox::default();
    }
}

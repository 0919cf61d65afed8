//! A fault that waits for its moment.
//!
//! Armed for the n-th request of a client from now on, over all connections, so
//! that a test that tries every n meets every point of a transaction, whatever
//! its statements are. Reports when it strikes, so that no test has to guess.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::fixture::DEADLINE;

/// On which side of the server's work the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The server never gets to see the request, unless the action lets it go on.
    Before,
    /// The server has done all of it and said so; its client does not hear it.
    AfterReply,
}

/// What the fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ends the connection with RST on both sides.
    Reset,
    /// Pulls the cable: no byte passes on any connection, until the line is set
    /// up again. What was connected before stays silent for ever.
    Swallow,
    /// Goes on after a time.
    Delay(Duration),
    /// Waits for [`Strike::release`].
    Hold,
}

/// A test's end of an armed fault.
#[derive(Debug)]
pub(crate) struct Strike {
    struck: watch::Receiver<bool>,
    verdict: watch::Sender<Option<Action>>,
}

impl Strike {
    /// Waits for the moment.
    pub(crate) async fn struck(&mut self) {
        let struck = timeout(DEADLINE, self.struck.wait_for(|struck| *struck)).await;
        struck.expect("no request came").expect("it was armed anew");
    }

    /// Waits until the fault is over, after it has struck: what it held up has gone on, or
    /// has gone with its connection.
    pub(crate) async fn over(&mut self) {
        // The proxy lets go of its end then.
        let over = async { while self.struck.changed().await.is_ok() {} };
        let over = timeout(DEADLINE, over).await;
        over.expect("the fault has no end");
    }

    /// Whether the moment has come.
    pub(crate) fn has_struck(&self) -> bool {
        *self.struck.borrow()
    }

    /// Ends [`Action::Hold`] with another action.
    pub(crate) fn release(&self, action: Action) {
        self.verdict.send_replace(Some(action));
    }
}

/// A proxy's end, kept until the fault is over.
#[derive(Debug)]
pub(super) struct Armed {
    /// Requests that pass before it.
    requests_left: usize,
    pub(super) place: Place,
    action: Action,
    struck: watch::Sender<bool>,
    verdict: watch::Receiver<Option<Action>>,
}

impl Armed {
    /// Reports the moment. Done first is whatever another test step could undo.
    pub(super) fn report(&self) {
        self.struck.send_replace(true);
    }

    /// What to do, which takes as long as a test holds it.
    pub(super) async fn action(&mut self) -> Action {
        if self.action != Action::Hold {
            return self.action;
        }
        self.report();
        let verdict = self.verdict.wait_for(Option::is_some).await;
        // A test that has let go of it wants nothing more.
        verdict.map_or(Action::Delay(Duration::ZERO), |action| {
            action.expect("it was waited for")
        })
    }
}

/// At most one armed fault.
#[derive(Debug, Default)]
pub(super) struct Trigger(Mutex<Option<Armed>>);

impl Trigger {
    /// Arms it for the request that `requests_before` others precede, in place of
    /// what was armed before.
    pub(super) fn arm(&self, requests_before: usize, place: Place, action: Action) -> Strike {
        let (struck, is_struck) = watch::channel(false);
        let (decide, verdict) = watch::channel(None);
        *self.lock() = Some(Armed {
            requests_left: requests_before,
            place,
            action,
            struck,
            verdict,
        });
        Strike {
            struck: is_struck,
            verdict: decide,
        }
    }

    /// To be called for each request: the fault, if it is meant.
    pub(super) fn request(&self) -> Option<Armed> {
        let mut armed = self.lock();
        match &mut *armed {
            Some(waiting) if waiting.requests_left > 0 => {
                waiting.requests_left -= 1;
                None
            }
            meant => meant.take(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

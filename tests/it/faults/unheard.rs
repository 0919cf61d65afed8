//! Writes that are made, and whose server does not hear that.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::{Guard, patient};
use crate::api::stock;
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::proxy::{Action, Place, Proxy, Strike, behind_proxy};

/// Requests to the database that one write on an idle server takes at most.
pub(super) const REQUESTS_MAX: usize = 12;

/// What else a server asks its database now and then (the sweeper: every second, while an
/// attempt takes a third of one) must not spoil a test.
pub(super) const SWEEPS: usize = 10;

/// Writes that [`unheard_commit`] sends at most.
pub(super) const ATTEMPTS_MAX: usize = SWEEPS * REQUESTS_MAX;

/// An answer that has not come after this is held back.
pub(super) const ANSWER: Duration = Duration::from_millis(300);

/// Goes on at once.
pub(super) const ON: Action = Action::Delay(Duration::ZERO);

/// A write that is made, and whose server waits to hear that.
pub(super) struct Unheard<T> {
    /// Its number among those that were sent.
    pub(super) attempt: usize,
    pub(super) answer: Answer<T>,
    /// The commit is the request that so many others of the write precede.
    pub(super) point: usize,
    pub(super) held: Strike,
}

/// What a caller waits for.
pub(super) type Answer<T> = JoinHandle<Result<Response<T>, Status>>;

/// The request_id of a write that is sent.
pub(super) fn named(attempt: usize) -> String {
    format!("attempt-{attempt}")
}

/// A server with units to sell.
pub(super) async fn shop(guard: Guard) -> (Stockroom, Proxy) {
    let home = Home::migrated(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, |config| {
        patient(config);
        (guard.configure)(config);
    })
    .await;
    stock(&server.client, "a", 1_000).await;
    (server, proxy)
}

/// Sends writes one by one, each with another reply of the database held back,
/// until what is held back is the reply to a commit. What a write makes has its
/// request_id in `table`. The first is that of number `from`.
pub(super) async fn unheard_commit<T>(
    server: &Stockroom,
    proxy: &Proxy,
    table: &str,
    from: usize,
    send: impl Fn(usize) -> Answer<T>,
) -> Unheard<T> {
    for attempt in from..ATTEMPTS_MAX {
        let point = attempt % REQUESTS_MAX;
        let mut held = proxy.arm(point, Place::AfterReply, Action::Hold);
        let mut answer = send(attempt);
        tokio::select! {
            () = held.struck() => {}
            // The write takes fewer requests than are to pass.
            answer = &mut answer => {
                answer.unwrap().expect("nothing was held back");
                continue;
            }
        }
        let request_id = named(attempt);
        let made = format!("SELECT count(*) FROM {table} WHERE request_id = '{request_id}'");
        let is_made = server.home.sql(&made) == "1";
        match timeout(ANSWER, &mut answer).await {
            Err(_) if is_made => {
                return Unheard {
                    attempt,
                    answer,
                    point,
                    held,
                };
            }
            Err(_) => {
                held.release(ON);
                answer.await.unwrap().expect("it was held back shortly");
            }
            // What was held back was no part of the write.
            Ok(answer) => {
                held.release(ON);
                answer.unwrap().expect("it was not held back");
            }
        }
    }
    panic!("no reply was the one to a commit");
}

/// A write whose commit was settled because its server had not heard of it.
pub(super) struct Settled<T> {
    pub(super) attempt: usize,
    pub(super) answer: T,
    /// What `sql` said between the commit and the answer.
    pub(super) before: String,
}

/// [`unheard_commit`] whose connection is reset, so that the server has to find out. What
/// `sql` says then is what it must be in the end.
pub(super) async fn settled<T>(
    server: &Stockroom,
    proxy: &Proxy,
    table: &str,
    sql: &str,
    send: impl Fn(usize) -> Answer<T>,
) -> Settled<T> {
    let count = &server.counters.commit.settled;
    let mut from = 0;
    loop {
        let unheard = unheard_commit(server, proxy, table, from, &send).await;
        let (before, settled_before) = (server.home.sql(sql), count.get());
        unheard.held.release(Action::Reset);
        let answer = unheard.answer.await.unwrap();
        let answer = answer.expect("settled before it is answered").into_inner();
        // Else it was the reply to something else, and the commit took long.
        if count.get() == settled_before + 1 {
            return Settled {
                attempt: unheard.attempt,
                answer,
                before,
            };
        }
        from = unheard.attempt + 1;
    }
}

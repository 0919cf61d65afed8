//! The audit itself: it passes a real history and names each fault that is
//! planted in one.

use stockroom::client::WatchTargets;
use stockroom::client::history::{Fault, Ledger, StreamEnd};
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{StockKey, WatchStockResponse};

use crate::api::{order, stock};
use crate::fixture::{Stockroom, StoreKind};
use crate::recorder::{Happening, History, Recorder, ledger, levels};

on_each_store! {
    a_history_that_nobody_tampered_with_has_no_violation,
    an_event_that_is_left_out_is_named,
    a_version_that_is_sent_twice_is_named,
    an_old_value_after_a_new_one_is_named,
    a_stream_that_ends_without_goodbye_is_named,
    a_value_that_the_ledger_does_not_have_is_named,
}

/// Version 1 is the first stock; every order adds one.
const LAST: i64 = 10;

fn targets() -> WatchTargets {
    WatchTargets::levels([StockKey {
        sku: "a".to_owned(),
        ..StockKey::default()
    }])
}

/// Records a watcher of a level, which reads each version before the next one is
/// made, lets go once, resumes, and is sent Goodbye by a server that drains. So
/// the history is one of `EVERY_CHANGE` as well, and is audited as that.
async fn recorded(store: StoreKind) -> (History, Ledger) {
    let mut server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000).await;
    let url = format!("http://{}", server.addr);
    let mut recorder = Recorder::new(targets());
    assert!(recorder.open(&url).await);
    recorder.until_synced().await;
    for version in 2..=LAST {
        let request = order(&format!("o-{version}"), &[("a", 1)]);
        server.client.create_order(request).await.unwrap();
        recorder.until("a", version).await;
        if version == LAST / 2 {
            assert!(recorder.open(&url).await);
        }
    }
    let truth = ledger(&server.home).await;
    assert_eq!(truth.last("a", "main"), LAST);
    server.begin_shutdown();
    while recorder.is_open() {
        recorder.read().await;
    }
    let mut history = recorder.into_history();
    history.targets = history.targets.every_change();
    (history, truth)
}

/// Fails unless the audit finds these faults and no other.
#[track_caller]
fn finds(history: &History, truth: &Ledger, faults: &[Fault]) {
    let report = history.audit(truth);
    let found: Vec<_> = report.examples.iter().map(|v| v.fault.clone()).collect();
    assert_eq!(found, faults, "{report:#?}");
    assert_eq!(report.violations, faults.len() as u64);
    for violation in &report.examples {
        let about_level = !matches!(violation.fault, Fault::NoGoodbye { .. });
        assert_eq!(violation.level == "a@main", about_level, "{violation}");
    }
}

/// The place of the message with this version.
fn place(history: &History, version: i64) -> usize {
    let carries = |place: &usize| levels(&history.happenings[*place].1)[0].version == version;
    history.changes().into_iter().find(carries).unwrap()
}

async fn a_history_that_nobody_tampered_with_has_no_violation(store: StoreKind) {
    let (mut history, truth) = recorded(store).await;
    finds(&history, &truth, &[]);
    let report = history.audit(&truth);
    assert_eq!((report.streams, report.goodbyes, report.levels), (2, 1, 10));
    history.targets = targets();
    finds(&history, &truth, &[]);
}

async fn an_event_that_is_left_out_is_named(store: StoreKind) {
    let (recorded, truth) = recorded(store).await;
    let mut history = recorded.clone();
    history.happenings.remove(place(&recorded, 7));
    finds(&history, &truth, &[Fault::Skipped { from: 6, to: 8 }]);
    // Under LATEST it may be folded into the next one, unless there is none.
    history.targets = targets();
    finds(&history, &truth, &[]);
    for targets in [targets(), targets().every_change()] {
        let mut history = recorded.clone();
        history.targets = targets;
        history.happenings.remove(place(&recorded, LAST));
        let held = Some(LAST - 1);
        finds(&history, &truth, &[Fault::LastMissing { held, last: LAST }]);
    }
}

async fn a_version_that_is_sent_twice_is_named(store: StoreKind) {
    let (recorded, truth) = recorded(store).await;
    for targets in [targets(), targets().every_change()] {
        let mut history = recorded.clone();
        history.targets = targets;
        let place = place(&history, 7);
        let again = history.happenings[place].clone();
        history.happenings.insert(place + 1, again);
        finds(&history, &truth, &[Fault::Repeated { version: 7 }]);
    }
    // Also on the next stream, which was told that it had been seen.
    let mut history = recorded;
    let (sent, again) = (place(&history, LAST / 2), place(&history, LAST / 2 + 1));
    let happening = history.happenings[sent].1.clone();
    let at = history.happenings[again].0;
    history.happenings.insert(again, (at, happening));
    finds(&history, &truth, &[Fault::Repeated { version: LAST / 2 }]);
}

async fn an_old_value_after_a_new_one_is_named(store: StoreKind) {
    let (recorded, truth) = recorded(store).await;
    for targets in [targets(), targets().every_change()] {
        let mut history = recorded.clone();
        history.targets = targets;
        let (old, new) = (place(&history, 7), place(&history, 9));
        let late = history.happenings[old].1.clone();
        let at = history.happenings[new].0;
        history
            .happenings
            .insert(new + 1, (at, Happening::Message(message(&late))));
        finds(&history, &truth, &[Fault::Fell { from: 9, to: 7 }]);
    }
}

async fn a_stream_that_ends_without_goodbye_is_named(store: StoreKind) {
    let (mut history, truth) = recorded(store).await;
    let goodbye = history.happenings.iter().position(|(_, happening)| {
        matches!(
            happening,
            Happening::Message(WatchStockResponse {
                event: Some(Event::Goodbye(_))
            })
        )
    });
    history.happenings.remove(goodbye.unwrap());
    let reason = "DRAINING".to_owned();
    finds(&history, &truth, &[Fault::NoGoodbye { reason }]);
    history.happenings.last_mut().unwrap().1 = Happening::Ended(StreamEnd::Ok);
    let reason = "OK".to_owned();
    finds(&history, &truth, &[Fault::NoGoodbye { reason }]);
}

async fn a_value_that_the_ledger_does_not_have_is_named(store: StoreKind) {
    let (mut history, truth) = recorded(store).await;
    let place = place(&history, 7);
    let mut altered = message(&history.happenings[place].1);
    if let Some(Event::Changes(changes)) = &mut altered.event {
        changes.levels[0].on_hand += 1;
        changes.levels[0].available += 1;
    }
    history.happenings[place].1 = Happening::Message(altered);
    let report = history.audit(&truth);
    assert_eq!(report.violations, 1, "{report:#?}");
    let fault = &report.examples[0].fault;
    assert!(
        matches!(fault, Fault::WrongValue { sent, is: Some(is) } if sent.version == 7 && is.on_hand + 1 == sent.on_hand)
    );
}

fn message(happening: &Happening) -> WatchStockResponse {
    match happening {
        Happening::Message(message) => message.clone(),
        other => panic!("{other:?} is no message"),
    }
}

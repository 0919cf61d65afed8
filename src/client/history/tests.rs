//! Each rule by itself. That real histories pass, and that the faults which
//! matter most are found in them, is claimed in tests/it/histories.

use prost_types::Duration as Interval;

use super::*;
use crate::client::proto::{
    GoodbyeReason, StockKey, StockLevel, WatchChanges, WatchGoodbye, WatchHeartbeat, WatchStarted,
    WatchSynced,
};

fn message(event: Event) -> WatchStockResponse {
    WatchStockResponse { event: Some(event) }
}

fn started(store_id: &str) -> WatchStockResponse {
    message(Event::Started(WatchStarted {
        store_id: store_id.to_owned(),
        heartbeat_interval: Some(Interval {
            seconds: 15,
            nanos: 0,
        }),
        server_time: None,
    }))
}

fn synced() -> WatchStockResponse {
    message(Event::Synced(WatchSynced::default()))
}

fn heartbeat() -> WatchStockResponse {
    message(Event::Heartbeat(WatchHeartbeat::default()))
}

fn goodbye() -> WatchStockResponse {
    message(Event::Goodbye(WatchGoodbye {
        reason: GoodbyeReason::Age.into(),
        reconnect_after: Some(Interval::default()),
    }))
}

fn level(sku: &str, version: i64) -> StockLevel {
    StockLevel {
        sku: sku.to_owned(),
        location: "main".to_owned(),
        on_hand: 100 - version,
        available: 100 - version,
        version,
        ..StockLevel::default()
    }
}

fn changes(levels: &[StockLevel]) -> WatchStockResponse {
    message(Event::Changes(WatchChanges {
        levels: levels.to_vec(),
        ..WatchChanges::default()
    }))
}

fn named(sku: &str) -> WatchTargets {
    WatchTargets::levels([StockKey {
        sku: sku.to_owned(),
        ..StockKey::default()
    }])
}

fn seen(sku: &str, version: i64) -> SeenLevel {
    SeenLevel {
        sku: sku.to_owned(),
        location: "main".to_owned(),
        version,
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An audit of a stream that has begun, with these messages a second apart.
fn audit(targets: &WatchTargets, messages: &[WatchStockResponse]) -> Audit {
    let mut audit = Audit::new(targets);
    audit.began(at(0), &targets.request("", Vec::new()));
    for (second, message) in messages.iter().enumerate() {
        audit.message(at(second as u64), message);
    }
    audit
}

fn truth(levels: &[StockLevel]) -> Ledger {
    let mut truth = Ledger::default();
    for level in levels {
        truth.level(level);
    }
    truth
}

#[track_caller]
fn finds(audit: Audit, now: Duration, truth: &Ledger, faults: &[Fault]) {
    let report = audit.finish(now, truth);
    let found: Vec<_> = report.examples.into_iter().map(|v| v.fault).collect();
    assert_eq!(found, faults);
}

#[test]
fn a_stream_has_its_form() {
    let all = WatchTargets::all();
    let of = |messages: &[WatchStockResponse], faults: &[Fault]| {
        finds(audit(&all, messages), at(9), &Ledger::default(), faults);
    };
    of(&[started("s"), synced(), heartbeat(), goodbye()], &[]);
    of(&[synced(), heartbeat()], &[Fault::NotStarted]);
    of(
        &[started("s"), started("s"), synced()],
        &[Fault::StartedTwice],
    );
    of(&[started("s"), synced(), synced()], &[Fault::SyncedTwice]);
    of(&[started("s"), heartbeat()], &[Fault::NotSynced]);
    let empty = Fault::MessageSize { levels: 0 };
    of(&[started("s"), changes(&[]), synced()], &[empty]);
    of(
        &[started("s"), synced(), goodbye(), heartbeat()],
        &[Fault::AfterGoodbye],
    );
    let mute = message(Event::Goodbye(WatchGoodbye::default()));
    of(&[started("s"), synced(), mute], &[Fault::GoodbyeUnclear]);
    // What this client does not know is skipped.
    of(
        &[started("s"), WatchStockResponse::default(), synced()],
        &[],
    );
}

#[test]
fn a_server_may_end_a_stream_only_with_goodbye_and_a_status() {
    let all = WatchTargets::all();
    let ended = |messages: &[WatchStockResponse], end: StreamEnd, faults: &[Fault]| {
        let mut audit = audit(&all, messages);
        audit.ended(at(3), end);
        finds(audit, at(100), &Ledger::default(), faults);
    };
    let status = || StreamEnd::Status("DRAINING".to_owned());
    let no_goodbye = |reason: &str| Fault::NoGoodbye {
        reason: reason.to_owned(),
    };
    let live = [started("s"), synced()];
    let left = [started("s"), synced(), goodbye()];
    ended(&live, status(), &[no_goodbye("DRAINING")]);
    ended(&live, StreamEnd::Ok, &[no_goodbye("OK")]);
    ended(&live, StreamEnd::Lost, &[]);
    ended(&live, StreamEnd::Reader, &[]);
    ended(&left, status(), &[]);
    ended(&left, StreamEnd::Ok, &[Fault::EndedWithOk]);
    // A refusal is told at the start, and without a stream there is no Goodbye.
    ended(&[], status(), &[]);
    ended(&[], StreamEnd::Ok, &[Fault::EndedWithOk]);
}

#[test]
fn silence_counts_from_what_was_heard_last_unless_it_is_the_readers() {
    let all = WatchTargets::all();
    let nothing = Ledger::default();
    let silent = |seconds| Fault::Silent {
        silence: at(seconds),
        heartbeat: at(15),
    };
    let live = || audit(&all, &[started("s"), synced()]);
    finds(live(), at(17), &nothing, &[]);
    finds(live(), at(18), &nothing, &[silent(17)]);
    let mut late = live();
    late.message(at(50), &heartbeat());
    finds(late, at(51), &nothing, &[silent(49)]);
    let mut paused = live();
    paused.reads_again(at(49));
    paused.message(at(50), &heartbeat());
    finds(paused, at(51), &nothing, &[]);
    let mut gave_up = live();
    gave_up.ended(at(31), StreamEnd::Reader);
    finds(gave_up, at(99), &nothing, &[silent(30)]);
    finds(live().tolerating(at(60)), at(70), &nothing, &[]);
}

#[test]
fn what_was_seen_binds_the_next_stream_and_nothing_else_does() {
    let all = WatchTargets::all();
    let resumed = |seen: Vec<SeenLevel>, version, faults: &[Fault]| {
        let mut audit = audit(&all, &[started("s"), changes(&[level("a", 5)]), synced()]);
        assert_eq!(audit.seen().len(), 1);
        audit.began(at(4), &all.request("s", seen));
        audit.message(at(5), &started("s"));
        audit.message(at(5), &changes(&[level("a", version)]));
        audit.message(at(5), &synced());
        finds(audit, at(6), &truth(&[level("a", 6)]), faults);
    };
    resumed(vec![seen("a", 5)], 6, &[]);
    resumed(
        vec![seen("a", 5)],
        5,
        &[Fault::Repeated { version: 5 }, missing(5)],
    );
    resumed(
        vec![seen("a", 5)],
        4,
        &[Fault::Fell { from: 5, to: 4 }, missing(5)],
    );
    // Unnamed, a level is sent as it is.
    resumed(vec![], 6, &[]);
    resumed(vec![], 5, &[missing(5)]);
}

fn missing(held: i64) -> Fault {
    Fault::LastMissing {
        held: Some(held),
        last: 6,
    }
}

#[test]
fn versions_fall_with_a_reset_or_with_another_store() {
    let all = WatchTargets::all();
    let reset = message(Event::Changes(WatchChanges {
        levels: vec![level("a", 2)],
        reset: true,
    }));
    let history = [started("s"), changes(&[level("a", 5)]), reset, synced()];
    let fallen = audit(&all, &history);
    assert_eq!(fallen.report().resets, 1);
    finds(fallen, at(5), &truth(&[level("a", 2)]), &[]);
    let mut restored = audit(&all, &[started("s"), changes(&[level("a", 5)]), synced()]);
    restored.began(at(4), &all.request("s", vec![seen("a", 5)]));
    restored.message(at(4), &started("other"));
    restored.message(at(4), &changes(&[level("a", 2)]));
    restored.message(at(4), &synced());
    assert_eq!(restored.seen(), [seen("a", 2)]);
    finds(restored, at(5), &truth(&[level("a", 2)]), &[]);
}

#[test]
fn every_change_begins_anywhere_and_leaves_nothing_out() {
    let every = named("a").every_change();
    let of = |versions: &[i64], faults: &[Fault]| {
        let levels: Vec<_> = versions
            .iter()
            .map(|version| level("a", *version))
            .collect();
        let messages = [started("s"), changes(&levels), synced()];
        let last = levels.last().cloned().into_iter().collect::<Vec<_>>();
        finds(audit(&every, &messages), at(3), &truth(&last), faults);
    };
    of(&[7, 8, 9], &[]);
    of(&[0, 1, 2], &[]);
    of(&[7, 9], &[Fault::Skipped { from: 7, to: 9 }]);
    let mut from_seen = Audit::new(&every);
    from_seen.began(at(0), &every.request("s", vec![seen("a", 0)]));
    from_seen.message(at(0), &started("s"));
    from_seen.message(at(0), &synced());
    from_seen.message(at(1), &changes(&[level("a", 2)]));
    let skipped = Fault::Skipped { from: 0, to: 2 };
    finds(from_seen, at(2), &truth(&[level("a", 2)]), &[skipped]);
}

#[test]
fn what_comes_is_what_was_selected() {
    let history = [
        started("s"),
        changes(&[level("a", 1), level("b", 1)]),
        synced(),
    ];
    let both = truth(&[level("a", 1), level("b", 1)]);
    finds(
        audit(&named("a"), &history),
        at(3),
        &both,
        &[Fault::NotSelected],
    );
    finds(
        audit(&WatchTargets::sku_prefix("b"), &history),
        at(3),
        &both,
        &[Fault::NotSelected],
    );
    finds(
        audit(&WatchTargets::location("main"), &history),
        at(3),
        &both,
        &[],
    );
    // Who is named must be in the snapshot, whether there is stock or not.
    let incomplete = audit(&named("c"), &[started("s"), synced()]);
    finds(incomplete, at(3), &both, &[Fault::SnapshotIncomplete]);
}

#[test]
fn low_levels_are_due_until_they_are_not_low() {
    let low = |version, low_stock| StockLevel {
        low_stock,
        ..level("a", version)
    };
    let of = |sent: &[StockLevel], last: StockLevel, faults: &[Fault]| {
        let mut audit = audit(&WatchTargets::low_only(), &[started("s"), synced()]);
        for level in sent {
            audit.message(at(2), &changes(std::slice::from_ref(level)));
        }
        finds(audit, at(3), &truth(&[last]), faults);
    };
    of(&[], low(6, false), &[]);
    of(
        &[],
        low(6, true),
        &[Fault::LastMissing {
            held: None,
            last: 6,
        }],
    );
    of(&[low(4, true), low(5, false)], low(6, false), &[]);
    of(&[low(5, true)], low(6, false), &[missing(5)]);
    of(&[low(5, false)], low(6, true), &[missing(5)]);
}

#[test]
fn values_are_those_of_the_ledger() {
    let all = WatchTargets::all();
    let sent = [level("a", 1), level("a", 2), level("b", 0)];
    let of = |sent: &[StockLevel], last: i64| {
        let messages = [started("s"), changes(sent), synced()];
        let audit = audit(&all, &messages).keeping_values();
        let known: Vec<_> = (1..=last).map(|version| level("a", version)).collect();
        audit.finish(at(3), &truth(&known)).examples
    };
    let zero = |level: &StockLevel| StockLevel {
        on_hand: 0,
        available: 0,
        ..level.clone()
    };
    assert_eq!(
        of(&[sent[0].clone(), sent[1].clone(), zero(&sent[2])], 2),
        []
    );
    let ahead = of(&sent[..2], 1);
    let never = Fault::NeverCommitted {
        version: 2,
        last: 1,
    };
    assert_eq!(ahead.len(), 1, "{ahead:?}");
    assert_eq!(
        (ahead[0].level.as_str(), &ahead[0].fault),
        ("a@main", &never)
    );
    let altered = of(&[zero(&sent[0])], 1);
    assert!(matches!(
        altered[0].fault,
        Fault::WrongValue { is: Some(_), .. }
    ));
    let short = StockLevel {
        available: -1,
        ..sent[0].clone()
    };
    let impossible = of(&[short], 1);
    assert!(matches!(
        impossible[0].fault,
        Fault::WrongValue { is: None, .. }
    ));
}

#[test]
fn a_level_may_fall_to_its_limit_and_no_further() {
    let owing = |units: i64, backorder_limit| StockLevel {
        on_hand: -units,
        available: -units,
        backorder_limit,
        ..level("a", 1)
    };
    let of = |targets: &WatchTargets, sent: StockLevel| {
        let audit = audit(
            targets,
            &[started("s"), changes(std::slice::from_ref(&sent)), synced()],
        );
        audit.finish(at(3), &truth(&[sent])).examples.len()
    };
    let all = WatchTargets::all();
    assert_eq!(of(&all, owing(5, 5)), 0);
    assert_eq!(of(&all, owing(6, 5)), 1);
    assert_eq!(of(&all, owing(1, 0)), 1);
    // An old value comes with the limit of today.
    assert_eq!(of(&all.every_change(), owing(6, 5)), 0);
}

//! Batches whose levels turn out to be elsewhere than they were foreseen.

use super::*;
use crate::domain::{Hold, Order, Transition};
use crate::engine::samples::{change, hold, order, planner, received};
use crate::samples::level;

/// Plans `commands` as a hint, and again where `a` is `taken` after the database has
/// subtracted.
fn again(mut planner: Planner, commands: &[&Prepared], taken: StockLevel) -> Plan {
    let outcomes = commands.iter().map(|it| planner.command(it)).collect();
    let (hint, _) = planner.finish(outcomes);
    let takes = takes(&hint.writes);
    let taken = HashMap::from([(taken.key.clone(), taken)]);
    plan_again(commands, hint, &takes, taken).unwrap()
}

fn order_of(outcome: &Result<Done, Error>) -> &Arc<Order> {
    match outcome {
        Ok(Done::Order { order, .. }) => order,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeat_beside_an_order_tells_of_the_level_that_there_was() {
    let repeat = received("r", "a", 5);
    let mut earlier = planner(0, level("a", 3, 4));
    let done = earlier.command(&repeat).unwrap();
    let (_, made) = earlier.finish(vec![Ok(done)]);
    let mut planner = planner(0, level("a", 5, 10));
    planner.know_requests(made);
    let sold = order("o", "a", 1);
    // Another instance has sold the other ones first.
    let plan = again(planner, &[&sold, &repeat], level("a", 7, 2));
    assert!(plan.is_made_anew);
    match &plan.outcomes[1] {
        Ok(Done::Adjusted {
            levels,
            replayed: true,
            ..
        }) => assert_eq!(levels[..], [level("a", 7, 2)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeat_beside_the_end_of_its_order_names_the_versions_that_there_were() {
    let mut earlier = planner(0, level("a", 3, 10));
    let made = order_of(&earlier.command(&hold("h", "a", 1))).clone();
    earlier.know_order(Arc::clone(&made));
    let extension = change("x", &made, Transition::Extend(Hold::of(9)));
    let extended = earlier.command(&extension);
    let held = order_of(&extended).clone();
    let (_, made) = earlier.finish(vec![extended]);
    let mut planner = planner(
        0,
        StockLevel {
            reserved: 1,
            ..level("a", 5, 10)
        },
    );
    planner.know_order(Arc::clone(&held));
    planner.know_requests(made);
    let end = change("c", &held, Transition::Confirm);
    let plan = again(planner, &[&end, &extension], level("a", 7, 2));
    let ended = order_of(&plan.outcomes[0]);
    assert_eq!(ended.moved, [[Version::new(7)]]);
    assert_eq!(order_of(&plan.outcomes[1]), ended);
}

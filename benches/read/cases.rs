//! What is measured, and what it is held against.

use anyhow::ensure;

use crate::callers::{Call, FEW, MANY};
use crate::shop::Who;
use crate::support::servers::redis;

/// Replicas of the largest case. More would only divide two cores further.
pub(crate) const REPLICAS: usize = 2;

/// A name, who is called, what, by how many, and the case that it is held against.
pub(crate) type Case = (&'static str, Who, Call, usize, &'static str);

const CASES: [Case; 9] = [
    ("echo_read", Who::Echo, Call::Any, MANY, "echo_read"),
    ("read_cached", Who::Cached, Call::Any, MANY, "echo_read"),
    (
        "read_primary",
        Who::Plain(0),
        Call::Primary,
        MANY,
        "echo_read",
    ),
    (
        "echo_refusal",
        Who::Echo,
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    (
        "refusal_cached",
        Who::Cached,
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    (
        "refusal_engine",
        Who::Plain(0),
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    ("replicas_0", Who::Plain(0), Call::Any, FEW, "replicas_0"),
    ("replicas_1", Who::Plain(1), Call::Any, FEW, "replicas_0"),
    (
        "replicas_2",
        Who::Plain(REPLICAS),
        Call::Any,
        FEW,
        "replicas_0",
    ),
];

/// The cases whose names begin so, with their floors; and what a run of everything has to do
/// without, in words.
///
/// # Errors
/// There is none, or one that was asked for by name needs what is not there.
pub(crate) fn chosen(
    prefix: &str,
    has_redis: bool,
) -> anyhow::Result<(Vec<Case>, Option<&'static str>)> {
    let wanted = CASES.into_iter().filter(|it| it.0.starts_with(prefix));
    let (possible, impossible): (Vec<Case>, Vec<Case>) =
        wanted.partition(|case| has_redis || case.1 != Who::Cached);
    ensure!(
        impossible.is_empty() || prefix.is_empty(),
        "{} is not set: scripts/setup-test-tools.sh installs Redis",
        redis::VARIABLE
    );
    ensure!(!possible.is_empty(), "there is no case {prefix}");
    let needed = |case: &&Case| possible.iter().any(|it| it.0 == case.0 || it.4 == case.0);
    let left_out = (!impossible.is_empty()).then_some(
        "LEFT OUT: what is cached; scripts/setup-test-tools.sh did not find Redis, or was told to skip it",
    );
    Ok((CASES.iter().filter(needed).copied().collect(), left_out))
}

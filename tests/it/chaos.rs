//! How long the tests that break things go on, and what they leave to chance.
//!
//! `make test` does one round of each, `make chaos` many. Every choice comes from
//! one seed, which a failed test prints.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

/// `STOCKROOM_CHAOS_ROUNDS`: how often each test does what it does; once if unset.
pub(crate) fn rounds() -> usize {
    number("STOCKROOM_CHAOS_ROUNDS").map_or(1, |rounds| rounds.try_into().unwrap())
}

/// A source of choices: of `STOCKROOM_CHAOS_SEED` if set, else of a new seed.
pub(crate) fn chance() -> SmallRng {
    let seed = number("STOCKROOM_CHAOS_SEED").unwrap_or_else(rand::random);
    // libtest shows this for failed tests alone.
    println!("STOCKROOM_CHAOS_SEED={seed} makes the same choices again");
    SmallRng::seed_from_u64(seed)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

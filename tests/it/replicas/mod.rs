//! Read replicas: real ones, which stream from a primary of the test's own and are
//! paused, killed, slowed, silenced and promoted.

mod failover;
mod fleet;
mod health;
mod reads;
mod slow;
mod watch;

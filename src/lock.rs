//! How a mutex is locked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also what was locked by somebody who panicked. Every change of what our mutexes
/// guard is made whole, or not at all, before anything can panic: the worst that is left is
/// one change less, which counts or remembers too little and breaks no rule.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

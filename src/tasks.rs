//! The tasks that a server cannot do without.
//!
//! A panic ends its task and nothing else: a server whose feed or whose cache has stopped would
//! say that it is ready, and be dead in part. So these are started here, each under a name,
//! and whoever serves hears of the first that panics. Leaves tasks of one read, one stream or
//! one connection to whoever waits for what they bring.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::SetOnce;
use tokio_util::task::AbortOnDropHandle;

/// Where such tasks are started; clones share what becomes of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    /// The first that panicked.
    broken: Arc<SetOnce<&'static str>>,
}

impl Tasks {
    /// Runs `task` on this runtime until it ends or what is returned is dropped. One that
    /// returns has nothing to do here.
    pub(crate) fn start(
        &self,
        name: &'static str,
        task: impl Future + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let broken = Arc::clone(&self.broken);
        AbortOnDropHandle::new(tokio::spawn(async move {
            // Nobody looks at what it has left behind.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                // Where another was first, that one is told of.
                let _ = broken.set(name);
            }
        }))
    }

    /// Waits until one has panicked, and says which.
    pub(crate) async fn broken(&self) -> &'static str {
        *self.broken.wait().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named_and_one_that_ends_is_not() {
        let tasks = Tasks::default();
        tasks.start("well", async {}).await.unwrap();
        let gone = tasks.start("dropped", std::future::pending::<()>());
        drop(gone);
        assert_eq!(tasks.broken().now_or_never(), None);
        for name in ["first", "second"] {
            let task = tasks.start(name, async { assert_eq!(1, 2, "on purpose") });
            task.await.unwrap();
        }
        assert_eq!(tasks.broken().await, "first");
    }
}

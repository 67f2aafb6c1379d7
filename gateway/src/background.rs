//! Threads for work that takes long and is not worth more than what everybody waits for: the system lets them go behind all
//! other threads of the process where there are not enough cores.

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How much they give way, as of `nice`.
const NICENESS: i32 = 10;

/// The most threads. Whoever has work done here bounds it more narrowly.
const MOST: usize = 512;

/// The threads, made when there is work for them.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Where the system has no thread to give, work is done on the usual ones.
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(MOST).thread_name("gateway-work").on_thread_start(give_way);
        let runtime = builder.build();
        if let Err(error) = &runtime {
            tracing::warn!(%error, "there are no threads for checks; they are done beside everything else");
        }
        Self(runtime.ok())
    }

    /// Does `work`, which goes on to its end even if nobody waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Its owner may be dropped where nothing may block.
            runtime.shutdown_background();
        }
    }
}

fn give_way() {
    // For this thread alone. Where it is not allowed, the work is done all the same. A process that gives way more already
    // goes on doing so.
    if getpriority_process(Some(gettid())).is_ok_and(|niceness| niceness < NICENESS)
        && let Err(error) = setpriority_process(Some(gettid()), NICENESS)
    {
        tracing::debug!(%error, "a thread for checks keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_way() {
        let background = Background::new();
        let niceness = || getpriority_process(Some(gettid())).unwrap();
        let own = niceness();
        assert_eq!(background.run(niceness).await.unwrap(), own.max(NICENESS));
        assert_eq!(niceness(), own);
    }
}

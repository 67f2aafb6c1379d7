//! Threads for work that whoever defines something decides the length of, such as the inspection of
//! a component, and that is not worth more than what everybody waits for: the system lets them go
//! behind all other threads of the process where there are not enough cores.

mod slice;

use std::future::Future;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

pub use slice::{take_short_slices, take_usual_slices};

/// How much they give way, as of `nice`.
const NICENESS: i32 = 10;

/// The most threads. Whoever has work done here bounds it more narrowly.
const MOST: usize = 512;

/// The threads, made when there is work for them, and gone a while after.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Threads of that name, of at most 15 bytes. Where the system has no thread to give, work is
    /// done on the runtime's usual ones.
    pub fn new(name: &str) -> Self {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .max_blocking_threads(MOST)
            .thread_name(name)
            .on_thread_start(give_way)
            .enable_all();
        let runtime = builder.build();
        if let Err(error) = &runtime {
            tracing::warn!(%error, "there are no threads for work in the background; it is done beside everything else");
        }
        Self(runtime.ok())
    }

    /// Does `work`, which goes on to its end even if nobody waits for it. To be called within a
    /// runtime.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }

    /// Does work that waits, such as for a process that it starts, which then gives way as these
    /// threads do from its first instruction. One thread polls all of it: whatever takes long
    /// belongs to [`Self::run`]. To be called within a runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
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
    slice::take_long_slices();
    // For this thread alone. Where it is not allowed, the work is done all the same. A process that
    // gives way more already goes on doing so.
    if getpriority_process(Some(gettid())).is_ok_and(|niceness| niceness < NICENESS)
        && let Err(error) = setpriority_process(Some(gettid()), NICENESS)
    {
        tracing::debug!(%error, "a thread for work in the background keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_way() {
        let background = Background::new("test");
        let niceness = || getpriority_process(Some(gettid())).unwrap();
        let own = niceness();
        assert_eq!(background.run(niceness).await.unwrap(), own.max(NICENESS));
        assert_eq!(background.spawn(async move { niceness() }).await.unwrap(), own.max(NICENESS));
        assert_eq!(niceness(), own);
    }

    #[tokio::test]
    async fn so_does_a_process_from_its_start() {
        let background = Background::new("test");
        // It is started where it is polled first, unlike by `output` itself.
        let nice = async { tokio::process::Command::new("nice").output().await };
        let output = background.spawn(nice).await.unwrap().unwrap();
        let own = getpriority_process(Some(gettid())).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), own.max(NICENESS).to_string());
    }
}

//! The threads that guests run on, apart from those that talk to the world: a guest can keep only
//! these busy.

use std::future::Future;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use wasmill_background::take_usual_slices;

/// A runtime of its own.
pub(super) struct GuestThreads(Option<Runtime>);

impl GuestThreads {
    pub(super) fn start(threads: usize, niceness: i32) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("wasmill-guest")
            .on_thread_start(move || {
                // Guests compute: who is quick to answer is the thread that talks to the caller.
                take_usual_slices();
                be_nice(niceness);
            })
            .enable_time()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.0 {
            Some(runtime) => runtime.spawn(future),
            // Taken by `drop` only.
            None => unreachable!("the engine is gone"),
        }
    }
}

/// Lowers the calling thread's priority. (To Linux a thread is a process of its own in this.)
fn be_nice(niceness: i32) {
    if niceness > 0
        && let Err(error) = setpriority_process(Some(gettid()), niceness)
    {
        tracing::debug!(%error, "the threads of guests keep their priority");
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // An engine may be dropped on a thread of another runtime, which must not wait.
            runtime.shutdown_background();
        }
    }
}

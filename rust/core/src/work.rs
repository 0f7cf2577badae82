//! Threads of a call, and a way to stop it.
//!
//! The threads of a pool do not survive a fork. So pools are kept by process, and a child makes its
//! own. Nothing of another process is touched: its locks may have been held when it forked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::stats::StatsError;
use crate::{Error, Result};

/// Time between two looks for an interruption.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Most threads of a call.
const MOST_THREADS: usize = 1024;

/// Pools that are kept between calls, which saves 0.1 to 3 ms a call.
const MOST_POOLS: usize = 4;

/// A flag that is up once a call was told to stop. Long work reads it once a block.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Go on, or not.
    ///
    /// # Errors
    /// If the call was told to stop.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Run `work` on `n_threads`, as many as there are cores if `None`. Meanwhile the calling thread asks
/// every 100 ms whether the call is `interrupted`, and if so tells the work to stop.
///
/// # Errors
/// If that many threads cannot be had, or with what `work` fails.
pub fn run<T: Send>(
    n_threads: Option<usize>,
    interrupted: impl Fn() -> bool,
    work: impl FnOnce(&Stop) -> Result<T> + Send,
) -> Result<T> {
    let pool = Pools::of_this_process().pool(n_threads)?;
    let stop = Stop::default();
    let (done, finished) = sync_channel(1);
    let told = &stop;
    let answer = pool.in_place_scope(|scope| {
        scope.spawn(move |_| {
            // The receiver waits as long as the sender lives.
            let _ = done.send(work(told));
        });
        loop {
            match finished.recv_timeout(LOOK_EVERY) {
                Ok(answer) => break Some(answer),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if interrupted() => {
                    stop.0.store(true, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    });
    // Work that panicked has no answer, and its panic has left the scope already.
    answer.unwrap_or(Err(Error::Interrupted))
}

/// The pools of a process, and those of its children.
struct Pools {
    process: u32,
    /// The most recent last.
    by_size: Mutex<Vec<(usize, Arc<ThreadPool>)>>,
    next: Place,
}

type Place = OnceLock<Box<Pools>>;

static FIRST: Place = OnceLock::new();

impl Pools {
    fn of_this_process() -> &'static Self {
        let process = std::process::id();
        let start = || Box::new(Self { process, by_size: Mutex::default(), next: OnceLock::new() });
        let mut pools = FIRST.get_or_init(start);
        while pools.process != process {
            pools = pools.next.get_or_init(start);
        }
        pools
    }

    fn pool(&self, n_threads: Option<usize>) -> Result<Arc<ThreadPool>> {
        // rayon takes 0 for as many as there are cores.
        let n = n_threads.unwrap_or(0);
        let refuse = |rule| StatsError::OutOfRange { name: "n_threads", value: n as f64, rule };
        if n_threads == Some(0) || n > MOST_THREADS {
            return Err(refuse("be from 1 to 1024").into());
        }
        let mut pools = self.by_size.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = match pools.iter().position(|&(size, _)| size == n) {
            Some(at) => pools.remove(at).1,
            None => Arc::new(
                ThreadPoolBuilder::new()
                    .num_threads(n)
                    .build()
                    .map_err(|_| refuse("be as many as the system can start"))?,
            ),
        };
        if pools.len() == MOST_POOLS {
            pools.remove(0);
        }
        pools.push((n, Arc::clone(&pool)));
        Ok(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_as_many_threads_as_asked_for() {
        for n in [1, 3, 7, 2, 5, 3] {
            let found = run(Some(n), || false, |_| Ok(rayon::current_num_threads()));
            assert_eq!(found, Ok(n));
        }
        assert!(Pools::of_this_process().by_size.lock().unwrap().len() <= MOST_POOLS);
        for n in [0, 1025, usize::MAX] {
            assert!(run(Some(n), || false, |_| Ok(())).is_err());
        }
    }

    #[test]
    fn an_interrupted_call_stops() {
        let forever = |stop: &Stop| -> Result<()> {
            loop {
                stop.check()?;
                std::thread::yield_now();
            }
        };
        assert_eq!(run(Some(2), || true, forever), Err(Error::Interrupted));
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let work = || run(Some(2), || false, |_| -> Result<()> { panic!("in the work") });
        assert!(std::panic::catch_unwind(work).is_err());
        assert_eq!(run(Some(2), || false, |_| Ok(1)), Ok(1));
    }
}

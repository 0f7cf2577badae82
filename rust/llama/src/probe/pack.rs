//! How jobs are grouped into batches, and how a batch is rounded up.
//!
//! Each sequence has a stream of the cache for itself, so that a row attends to the cells of its own
//! prompt alone, and in their order. llama.cpp keeps a batch of such sequences whole only if they are
//! neighbours and equally long. A row's bits then do not depend on the rest of the batch, if the
//! kernels stay the same: they take [`GROUP`] rows at a time, and other kernels serve fewer than [`LEAST`].

use std::ops::Range;

use super::request::Request;
use crate::error::{Error, Result};
use crate::plan::{GROUP, LEAST};

/// Limits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Tokens of a batch, in whole groups.
    pub(super) n_batch: usize,
    /// Sequences that carry interventions.
    pub(super) n_temporary: usize,
}

/// Tokens of each sequence of a batch, and sequences, both rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) n_sequences: usize,
}

/// `n` rows rounded up to a number that the kernels take.
pub(super) fn round_up(n: usize) -> usize {
    n.max(LEAST).next_multiple_of(GROUP)
}

/// Size of a batch of these jobs, which may share one.
///
/// Long jobs, and those whose cells are kept, are rounded up by tokens behind their end, which nothing
/// before them sees; short ones by further sequences.
pub(super) fn size(request: &Request, jobs: &Range<usize>) -> Size {
    let len = request.jobs[jobs.start].tokens.len();
    if request.jobs[jobs.start].keep.is_some() || len >= LEAST {
        Size { width: round_up(len), n_sequences: jobs.len() }
    } else {
        Size { width: len, n_sequences: round_up(jobs.len()) }
    }
}

impl Room {
    /// The room in batches of `n_batch` tokens on `n_seq_max` sequences, if `n_slots` of them keep prompts.
    ///
    /// # Errors
    /// [`Error::TooSmall`] if a batch would not hold the longest of short jobs, rounded up.
    pub(super) fn new(n_batch: usize, n_seq_max: usize, n_slots: usize) -> Result<Self> {
        let least_batch = LEAST * (LEAST - 1);
        for (name, value, least) in [
            ("n_batch", n_batch, least_batch),
            ("n_seq_max", n_seq_max, n_slots.saturating_add(LEAST)),
        ] {
            if value < least {
                return Err(Error::TooSmall { name, value, least });
            }
        }
        let n_temporary = (n_seq_max - n_slots) / GROUP * GROUP;
        // What is rounded up to whole groups still fits.
        Ok(Self { n_batch: n_batch / GROUP * GROUP, n_temporary })
    }

    /// Runs of jobs that share a batch, in order.
    pub(super) fn batches(&self, request: &Request) -> Vec<Range<usize>> {
        let mut batches = vec![];
        let mut start = 0;
        for index in 1..request.jobs.len() {
            if !self.fits(request, &(start..index + 1)) {
                batches.push(start..index);
                start = index;
            }
        }
        if start < request.jobs.len() {
            batches.push(start..request.jobs.len());
        }
        batches
    }

    /// True if the last of these jobs may share a batch with the others, which fit already.
    fn fits(&self, request: &Request, jobs: &Range<usize>) -> bool {
        let Size { width, n_sequences } = size(request, jobs);
        let last = jobs.end - 1;
        let are_neighbours = match [last - 1, last].map(|job| request.jobs[job].keep) {
            [None, None] => n_sequences <= self.n_temporary,
            [Some(before), Some(slot)] => slot == before + 1,
            _ => false,
        };
        let len = |job: usize| request.jobs[job].tokens.len();
        are_neighbours && len(last) == len(jobs.start) && width * n_sequences <= self.n_batch
    }
}

#[cfg(test)]
mod tests;

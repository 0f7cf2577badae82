//! Log-probabilities at one position, in f64.

mod kernel;
#[cfg(test)]
mod tests;

use std::num::NonZero;

pub use kernel::{Level, Pass, pass};

/// The next token by one row of logits. Logarithms are natural.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// Log-probability of each wanted token, in the order asked for.
    pub logp: Vec<f64>,
    /// The most probable token; the lowest id on a tie; -1 if any logit is NaN.
    pub top_token: i32,
    /// Its log-probability.
    pub top_logp: f64,
}

/// The greedy choice at one position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    /// The most probable token; the lowest id on a tie; -1 if any logit is NaN.
    pub(crate) token: i32,
    /// Its log-probability.
    pub(crate) logp: f64,
    /// Its logit minus the second largest: 0 on a tie.
    pub(crate) gap: f64,
}

/// A row of logits with all that is read of it: `logp(t) = x_t - max - ln(sum exp(x - max))`.
///
/// A NaN anywhere makes every result NaN.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    logits: &'a [f32],
    pass: Pass,
    /// The log-sum-exp.
    total: f64,
}

impl<'a> Row<'a> {
    /// Read a row, not empty.
    #[must_use]
    pub fn new(logits: &'a [f32]) -> Self {
        let pass = pass(logits, Level::best());
        // The same bits on every machine, which the logarithm of a C library has not.
        let total = f64::from(pass.first) + libm::log(pass.sum);
        Self { logits, pass, total }
    }

    /// Log-probability of a token inside the row.
    fn logp(&self, id: usize) -> f64 {
        f64::from(self.logits[id]) - self.total
    }

    fn top(&self) -> (i32, f64) {
        if self.total.is_nan() {
            return (-1, f64::NAN);
        }
        (self.pass.top as i32, self.logp(self.pass.top))
    }

    /// Read the wanted tokens, whose ids must lie inside the row.
    #[must_use]
    pub fn position(&self, wanted: &[i32]) -> Position {
        let (top_token, top_logp) = self.top();
        let logp = wanted.iter().map(|&id| self.logp(id as usize)).collect();
        Position { logp, top_token, top_logp }
    }

    /// Choose the most probable token.
    pub(crate) fn choice(&self) -> Choice {
        let (token, logp) = self.top();
        let gap = f64::from(self.pass.first) - f64::from(self.pass.second);
        Choice { token, logp, gap: if token < 0 { f64::NAN } else { gap } }
    }
}

/// Values for which a thread is worth its start: about 0.1 ms of work.
const LEAST_VALUES: usize = 1 << 16;

/// Read rows, none of them empty, on as many threads as are worth it; the number changes no bit.
///
/// # Panics
/// Never: reading a row does not.
#[must_use]
pub fn read<'a>(rows: &[&'a [f32]], n_threads: usize) -> Vec<Row<'a>> {
    let n_values: usize = rows.iter().map(|row| row.len()).sum();
    let n_threads = n_threads.min(n_values / LEAST_VALUES).min(rows.len());
    let Some(n_each) = NonZero::new(n_threads).map(|n| rows.len().div_ceil(n.get())) else {
        return rows.iter().copied().map(Row::new).collect();
    };
    let read = |part: &[&'a [f32]]| part.iter().copied().map(Row::new).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let mut parts = rows.chunks(n_each);
        let own = parts.next().unwrap_or_default();
        let others: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
        let mut found = read(own);
        for other in others {
            found.extend(other.join().expect("reading a row does not panic"));
        }
        found
    })
}

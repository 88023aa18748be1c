//! A reader that comes to an end whatever its source promises: a few kilobytes can inflate to terabytes, and a header can
//! claim any length.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What may still be read. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<State>);

#[derive(Debug)]
struct State {
    bytes: Cell<u64>,
    until: Instant,
    exceeded: Cell<Option<Excess>>,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Bytes,
    Time,
}

impl Budget {
    /// No bytes yet.
    pub fn new(patience: Duration) -> Budget {
        Budget(Rc::new(State {
            bytes: Cell::new(0),
            until: Instant::now() + patience,
            exceeded: Cell::new(None),
        }))
    }

    /// From now on so many bytes, whatever was left.
    pub fn allow(&self, bytes: u64) {
        self.0.bytes.set(bytes);
    }

    /// Why a read failed, if it did for a bound.
    pub fn exceeded(&self) -> Option<Excess> {
        self.0.exceeded.get()
    }

    fn check(&self) -> io::Result<u64> {
        let excess = match self.0.bytes.get() {
            _ if Instant::now() >= self.0.until => Excess::Time,
            0 => Excess::Bytes,
            bytes => return Ok(bytes),
        };
        self.0.exceeded.set(Some(excess));
        Err(io::Error::other("a bound was met"))
    }
}

/// Reads no more than its budget.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    budget: Budget,
}

impl<R> Bounded<R> {
    pub fn new(inner: R, budget: Budget) -> Bounded<R> {
        Bounded { inner, budget }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.check()?;
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..room])?;
        self.budget.allow(left - count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_was_allowed_and_the_bound_is_named() {
        let budget = Budget::new(Duration::from_secs(60));
        let mut bounded = Bounded::new(io::repeat(0), budget.clone());
        budget.allow(10);
        let mut bytes = Vec::new();
        assert!(bounded.read_to_end(&mut bytes).is_err());
        assert_eq!((bytes.len(), budget.exceeded()), (10, Some(Excess::Bytes)));

        let budget = Budget::new(Duration::ZERO);
        budget.allow(10);
        assert!(Bounded::new(io::repeat(0), budget.clone()).read(&mut [0; 4]).is_err());
        assert_eq!(budget.exceeded(), Some(Excess::Time));
    }
}

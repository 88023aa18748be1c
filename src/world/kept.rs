//! Copies of data that were set aside on this machine. Nothing removes them but an operator.

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCopy {
    /// Where.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// A rename takes it to where copies are kept: both are on one disk.
    pub is_near: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// In the order of their paths.
    pub copies: Vec<KeptCopy>,
    /// How much of a disk they take, of the one that is filled most by them.
    pub percent: u64,
}

impl Kept {
    /// All together, in MiB.
    pub fn mib(&self) -> u64 {
        self.copies.iter().map(|copy| copy.bytes).sum::<u64>() >> 20
    }

    /// For people and scripts.
    pub fn paths(&self) -> String {
        self.copies.iter().map(|copy| copy.path.as_str()).collect::<Vec<_>>().join(" ")
    }
}

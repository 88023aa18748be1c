//! Something observed, or why it could not be. Invariant: what is not known is never taken for "there is none".

/// Something observed, or why it could not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// Read in this run.
    Known(T),
    /// Could not be read: the cause, for people.
    Unknown(String),
}

impl<T> Reading<T> {
    /// The value if it was read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Reading::Known(value) => Some(value),
            Reading::Unknown(_) => None,
        }
    }

    /// Why it could not be read.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Reading::Known(_) => None,
            Reading::Unknown(why) => Some(why),
        }
    }
}

impl<T: Default> Reading<T> {
    /// The value, or an empty one for a reader who has noted that it is not known.
    pub fn known_or_default(self) -> T {
        match self {
            Reading::Known(value) => value,
            Reading::Unknown(_) => T::default(),
        }
    }
}

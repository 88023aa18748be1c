//! The member's data on disk, and why it is moved aside.

use std::fmt;

/// The member's data on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// No member has ever run here.
    Empty,
    /// Log and database are both there.
    Present,
    /// Only one of the two is: starting on it could begin a new history.
    Partial(&'static str),
    /// It cannot be looked at: why. What is there is unknown.
    Unreadable(String),
}

/// The directories that a member's data is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// etcd's data directory.
    pub data: String,
    /// Where its log is, if that is not in the data directory.
    pub log: Option<String>,
}

impl Place {
    /// Everything in one data directory.
    pub fn whole(data: &str) -> Place {
        Place { data: data.to_owned(), log: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.log {
            Some(log) => write!(f, "{} with its log in {log}", self.data),
            None => f.write_str(&self.data),
        }
    }
}

/// etcd's old store beside the present one, up to etcd 3.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum V2Store {
    /// It is not served.
    Off,
    /// It is served and holds no key.
    Empty,
    /// It is served and holds keys.
    Used,
    /// It is served; whether it holds keys was not asked, or could not be told: why.
    Unknown(String),
}

impl V2Store {
    /// Only a hook has options that make the answer matter.
    pub fn not_asked() -> V2Store {
        V2Store::Unknown("it was not asked".to_owned())
    }
}

/// Why data is moved aside; never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The cluster has removed this member for good.
    MemberRemoved,
    /// The application's cluster was replaced by a restored one.
    ClusterRestored,
    /// A unit of before has left it on its storage.
    OfAnother,
    /// A copy that was not taken into use.
    Unfinished,
    /// The member runs with its data elsewhere.
    ElsewhereNow,
    /// No server can use it.
    Damaged,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moved::MemberRemoved => f.write_str("this member was removed from the cluster"),
            Moved::ClusterRestored => f.write_str("the cluster was restored from a snapshot"),
            Moved::OfAnother => f.write_str("another member has left it on the storage"),
            Moved::Unfinished => f.write_str("it is an unfinished copy"),
            Moved::Damaged => f.write_str("it is damaged"),
            Moved::ElsewhereNow => f.write_str("the member has its data elsewhere now"),
        }
    }
}

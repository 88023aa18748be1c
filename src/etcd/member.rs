//! What etcd tells of itself: members, their condition, alarms. Plain data; identifiers never mix with numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::version::Version;

/// Text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read {text:?} as an etcd identifier; accepted: up to 16 hexadecimal digits as in 8e9e05c52164694d"
)]
pub struct IdError {
    text: String,
}

fn parse_id(text: &str) -> Result<u64, IdError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| IdError { text: text.to_owned() })
}

/// Both kinds of identifier are written as etcdctl writes them: lower-case hexadecimal without leading zeros.
macro_rules! identifier {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                parse_id(text).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

identifier! {
    /// One member of one cluster. Never used again once removed, except when the same URL is added within the same
    /// second.
    MemberId
}

identifier! {
    /// A cluster, by the hash of its first members' URLs and token.
    ClusterId
}

/// An entry of the member list (etcd's `MemberList`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its identifier.
    pub id: MemberId,
    /// The name it started with; empty while it has never started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty while it has never started.
    pub client_urls: Vec<String>,
    /// It does not vote yet.
    pub learner: bool,
}

impl Member {
    /// It has published itself at least once.
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }
}

/// What one server says of itself (etcd's `Status`). Purely local: it is answered without quorum and by learners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who answered.
    pub member: MemberId,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// The server's version.
    pub version: Version,
    /// Size of the database file, bytes.
    pub db_size_bytes: i64,
    /// Bytes of it in use; the rest is freed by a defragmentation.
    pub db_in_use_bytes: i64,
    /// The raft leader it heard of within about one election timeout; `None`: none.
    pub raft_leader: Option<MemberId>,
    /// Last raft entry it knows to be committed.
    pub raft_index: u64,
    /// Last raft entry it has applied; far behind `raft_index` means lagging.
    pub raft_applied_index: u64,
    /// Raft term.
    pub raft_term: u64,
    /// It does not vote yet.
    pub learner: bool,
    /// Active alarms and complaints, in the server's words.
    pub errors: Vec<String>,
    /// KV revision.
    pub revision: i64,
}

/// An alarm that holds for the whole cluster until it is disarmed (etcd's `Alarm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// Who raised it; `None`: etcd does not say (3.4 and most of 3.5 for [`AlarmKind::Corrupt`]).
    pub member: Option<MemberId>,
    /// What for.
    pub kind: AlarmKind,
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The database is full: writes are refused.
    NoSpace,
    /// Members disagree about the data: writes are refused.
    Corrupt,
}

impl fmt::Display for AlarmKind {
    /// etcd's own words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_look_as_in_etcdctl() {
        let id: MemberId = "8e9e05c52164694d".parse().unwrap();
        assert_eq!(id, MemberId(0x8e9e_05c5_2164_694d));
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!(ClusterId(0x0c).to_string(), "c");
    }

    #[test]
    fn other_text_is_no_identifier() {
        for text in ["", "xyz", "+1", "0x10", "8e9e05c52164694d0", " 1"] {
            assert!(text.parse::<MemberId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn identifiers_travel_as_text() {
        let json = serde_json::to_string(&MemberId(u64::MAX)).unwrap();
        assert_eq!(json, "\"ffffffffffffffff\"");
        assert_eq!(serde_json::from_str::<MemberId>(&json).unwrap(), MemberId(u64::MAX));
        assert!(serde_json::from_str::<MemberId>("\"nonsense\"").is_err());
    }

    #[test]
    fn a_member_without_a_name_has_not_started() {
        let member = |name: &str| Member {
            id: MemberId(1),
            name: name.to_owned(),
            peer_urls: vec![],
            client_urls: vec![],
            learner: true,
        };
        assert!(!member("").is_started());
        assert!(member("etcd0").is_started());
    }
}

//! Charm secrets (Juju 3 and later): content by revision, who owns them, who may read them, and which revision each
//! reader is pinned to. Invariant: a consumer's pinned revision exists or was removed by the owner.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Model, application_of};

/// Who a secret belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretOwner {
    /// All units of an application may read it, its leader manages it.
    Application(String),
    /// One unit.
    Unit(String),
}

/// How often a secret wants to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Its name on the command line.
    pub name: RotationName,
    /// When secret-rotate is due, on the model's clock in ms.
    pub next_ms: u64,
}

/// The rotation policies that Juju knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are Juju's words")]
pub enum RotationName {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Quarterly,
    Yearly,
}

impl RotationName {
    /// Reads a policy; `Some(None)` is `never`.
    pub fn parse(text: &str) -> Option<Option<Self>> {
        Some(match text {
            "never" => None,
            "hourly" => Some(Self::Hourly),
            "daily" => Some(Self::Daily),
            "weekly" => Some(Self::Weekly),
            "monthly" => Some(Self::Monthly),
            "quarterly" => Some(Self::Quarterly),
            "yearly" => Some(Self::Yearly),
            _ => return None,
        })
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Quarterly => "quarterly",
            Self::Yearly => "yearly",
        }
    }

    /// Its length, ms.
    pub fn interval_ms(self) -> u64 {
        const HOUR_MS: u64 = 3_600_000;
        HOUR_MS
            * match self {
                Self::Hourly => 1,
                Self::Daily => 24,
                Self::Weekly => 24 * 7,
                Self::Monthly => 24 * 30,
                Self::Quarterly => 24 * 91,
                Self::Yearly => 24 * 365,
            }
    }
}

/// One content of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRevision {
    /// Keys and values, the values as base64.
    pub content: BTreeMap<String, String>,
    /// When secret-expired is due, on the model's clock in ms.
    pub expires_ms: Option<u64>,
    /// Whether the owner was told (secret-remove) that nobody reads it any more.
    pub removal_told: bool,
}

/// What a unit that reads a secret has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The revision it sees.
    pub revision: u64,
    /// Its own name for the secret.
    pub label: String,
    /// The newest revision that secret-changed told it of.
    pub told_revision: u64,
}

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// 20 characters.
    pub id: String,
    /// Who manages it.
    pub owner: SecretOwner,
    /// The owner's name for it.
    pub label: String,
    /// Text for people.
    pub description: String,
    /// How often it is to be renewed.
    pub rotation: Option<Rotation>,
    /// Contents by number.
    pub revisions: BTreeMap<u64, SecretRevision>,
    /// The newest number.
    pub latest: u64,
    /// Applications and units that may read it, and the relation that carries the grant.
    pub grants: BTreeMap<String, u64>,
    /// Readers.
    pub consumers: BTreeMap<String, Consumer>,
}

/// Why a secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is none.
    #[error("secret {0:?} not found")]
    NotFound(String),
    /// It is not for this unit.
    #[error("permission denied")]
    Denied,
}

impl Secret {
    /// Whether the unit belongs to the owner, so that it reads without a grant.
    pub fn is_owned_by(&self, unit: &str) -> bool {
        match &self.owner {
            SecretOwner::Unit(owner) => owner == unit,
            SecretOwner::Application(owner) => owner == application_of(unit),
        }
    }

    /// Whether the unit may read it.
    pub fn may_be_read_by(&self, unit: &str) -> bool {
        self.is_owned_by(unit)
            || self.grants.contains_key(unit)
            || self.grants.contains_key(application_of(unit))
    }

    /// Revisions older than the newest that no reader is pinned to.
    pub fn unread_revisions(&self) -> Vec<u64> {
        let read: BTreeSet<u64> = self.consumers.values().map(|consumer| consumer.revision).collect();
        self.revisions
            .keys()
            .copied()
            .filter(|revision| *revision != self.latest && !read.contains(revision))
            .collect()
    }
}

impl Model {
    /// Whether this unit runs the owner's secret hooks: the owning unit, or the leader of the owning application.
    pub fn manages_secret(&self, secret: &Secret, unit: &str) -> bool {
        match &secret.owner {
            SecretOwner::Unit(owner) => owner == unit,
            SecretOwner::Application(owner) => owner == application_of(unit) && self.is_leader(unit),
        }
    }

    /// The next time at which a secret of the model becomes due, on the model's clock in ms.
    pub fn next_secret_due_ms(&self) -> Option<u64> {
        let now = self.now_ms();
        self.secrets
            .values()
            .flat_map(|secret| {
                let rotation = secret.rotation.map(|rotation| rotation.next_ms);
                let expiries = secret.revisions.values().filter_map(|revision| revision.expires_ms);
                rotation.into_iter().chain(expiries)
            })
            .filter(|due| *due > now)
            .min()
    }
}

/// A new secret id: 12 random bytes in base 32, 20 characters.
pub fn new_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut bits = uuid::Uuid::new_v4().as_u128();
    let mut id = String::with_capacity(20);
    for _ in 0..20 {
        let digit = usize::try_from(bits & 31).unwrap_or_default();
        id.push(char::from(ALPHABET[digit]));
        bits >>= 5;
    }
    id
}

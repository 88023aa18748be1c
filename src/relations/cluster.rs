//! Endpoint `cluster`, peers: what each unit says of itself and what the whole application has agreed on.
//!
//! A unit's record is its own knowledge; the application's record is written by the Juju leader alone. On Juju
//! before 4 the leader also keeps the earlier charm's keys in the leader settings, so that units of both charms
//! can stand side by side during a refresh.

use std::collections::BTreeMap;

use super::Changes;
use crate::etcd::{ClusterId, LogEnd, MemberId, Minor, Version};
use crate::juju::{Databag, UnitName};
use crate::recovering::Generation;
use crate::rollout::Rollout;

/// What one unit publishes in its own databag. Everything is absent until the unit is a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitRecord {
    /// `db-ingress-address`: bare address, the earlier charm's key for "this unit has joined".
    pub address: Option<String>,
    /// `peer-url`.
    pub peer_url: Option<String>,
    /// `client-url`.
    pub client_url: Option<String>,
    /// `member-id`, lower-case hexadecimal.
    pub member: Option<MemberId>,
    /// `cluster-id`, lower-case hexadecimal.
    pub cluster: Option<ClusterId>,
    /// `etcd-version` of the running server.
    pub version: Option<Version>,
    /// `quota-backend-bytes` of the running server; 0: etcd's default.
    pub quota: Option<i64>,
    /// `v2-store`: whether it serves the old store.
    pub serves_v2: bool,
    /// `prepared-for`: the etcd that could start on its data, where the old store has kept one from it.
    pub prepared_for: Option<Minor>,
    /// `recovery`: of which recovery of the quorum its member is, where there was one.
    pub generation: Option<Generation>,
    /// `raft-log`: term and index of the last entry in its log, while it sees no quorum.
    pub log: Option<LogEnd>,
    /// `sees-quorum`: it does, although another unit does not.
    pub sees_quorum: bool,
    /// `member-data`: it has been a member, and nothing of its data is left.
    pub is_data_lost: bool,
    /// `client-address-db-7`: where the other side of that relation reaches it, where that is another address.
    pub reached_at: BTreeMap<String, String>,
}

/// The key of the recovery of the quorum, of a unit as of the application.
pub const RECOVERY: &str = "recovery";
/// The key of what all units are to move to.
pub const ROLLOUT: &str = "upgrade";
/// The key of how far a unit's log goes.
pub const LOG: &str = "raft-log";
/// Begins the key of an address for one relation; its tag follows.
const REACHED_AT: &str = "client-address-";

impl UnitRecord {
    /// From a databag. A value that cannot be read counts as absent: another revision of the charm may have
    /// written it, and every reader must do without it anyway while a unit is new.
    pub fn read(bag: &Databag) -> UnitRecord {
        let text = |key: &str| bag.get(key).filter(|value| !value.is_empty()).cloned();
        UnitRecord {
            address: text("db-ingress-address"),
            peer_url: text("peer-url"),
            client_url: text("client-url"),
            member: text("member-id").and_then(|id| id.parse().ok()),
            cluster: text("cluster-id").and_then(|id| id.parse().ok()),
            version: text("etcd-version").and_then(|version| version.parse().ok()),
            quota: text("quota-backend-bytes").and_then(|quota| quota.parse().ok()),
            serves_v2: text("v2-store").is_some(),
            prepared_for: text("prepared-for").and_then(|minor| minor.parse().ok()),
            generation: text(RECOVERY).and_then(|generation| generation.parse().ok()),
            log: text(LOG).and_then(|log| log.parse().ok()),
            sees_quorum: text("sees-quorum").is_some(),
            is_data_lost: text("member-data").is_some(),
            reached_at: bag
                .iter()
                .filter_map(|(key, address)| {
                    Some((key.strip_prefix(REACHED_AT)?.to_owned(), address.clone()))
                })
                .collect(),
        }
    }

    /// In the place of `before`, to a databag.
    pub fn write(&self, before: &UnitRecord) -> Changes {
        let gone = before.reached_at.keys().map(|tag| (tag, None));
        let there = self.reached_at.iter().map(|(tag, address)| (tag, Some(address.clone())));
        let by_relation = gone.chain(there).map(|(tag, address)| (format!("{REACHED_AT}{tag}"), address));
        let own = [
            ("db-ingress-address".to_owned(), self.address.clone()),
            ("peer-url".to_owned(), self.peer_url.clone()),
            ("client-url".to_owned(), self.client_url.clone()),
            ("member-id".to_owned(), self.member.map(|id| id.to_string())),
            ("cluster-id".to_owned(), self.cluster.map(|id| id.to_string())),
            ("etcd-version".to_owned(), self.version.as_ref().map(ToString::to_string)),
            ("quota-backend-bytes".to_owned(), self.quota.map(|quota| quota.to_string())),
            ("v2-store".to_owned(), self.serves_v2.then(|| "served".to_owned())),
            ("prepared-for".to_owned(), self.prepared_for.map(|minor| minor.to_string())),
            (RECOVERY.to_owned(), self.generation.as_ref().map(ToString::to_string)),
            (LOG.to_owned(), self.log.as_ref().map(ToString::to_string)),
            ("sees-quorum".to_owned(), self.sees_quorum.then(|| "yes".to_owned())),
            ("member-data".to_owned(), self.is_data_lost.then(|| "lost".to_owned())),
        ];
        own.into_iter().chain(by_relation).collect()
    }
}

/// What the application has agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterRecord {
    /// `token`: unique to this cluster; etcd's `initial-cluster-token`.
    pub token: Option<String>,
    /// `bootstrap-unit`: the one unit that may start the cluster.
    pub bootstrap_unit: Option<UnitName>,
    /// `cluster-id`: the cluster was started; never to be bootstrapped again.
    pub cluster: Option<ClusterId>,
    /// `recovery`: the last recovery of the quorum.
    pub generation: Option<Generation>,
    /// `upgrade`: what every unit is to move to, of the channel that it follows.
    pub rollout: Option<Rollout>,
    /// The earlier charm's units run a cluster (found in the leader settings only).
    pub inherited: bool,
}

impl ClusterRecord {
    /// From the application's databag; `settings` are the leader settings, of use while the bag is still empty.
    pub fn read(bag: &Databag, settings: &Databag) -> ClusterRecord {
        let text = |key: &str| bag.get(key).filter(|value| !value.is_empty()).cloned();
        let old = |key: &str| settings.get(key).filter(|value| !value.is_empty()).cloned();
        let bootstrap_unit = text("bootstrap-unit").and_then(|unit| unit.parse().ok());
        ClusterRecord {
            inherited: bootstrap_unit.is_none()
                && old("leader_address").is_some()
                && old("cluster").is_some(),
            token: text("token").or_else(|| old("token")),
            bootstrap_unit,
            cluster: text("cluster-id").and_then(|id| id.parse().ok()),
            generation: text(RECOVERY).and_then(|generation| generation.parse().ok()),
            rollout: text(ROLLOUT).and_then(|rollout| rollout.parse().ok()),
        }
    }

    /// To the application's databag. What is not known is left as it stands there.
    pub fn write(&self) -> Changes {
        let known = [
            ("token", self.token.clone()),
            ("bootstrap-unit", self.bootstrap_unit.as_ref().map(ToString::to_string)),
            ("cluster-id", self.cluster.map(|id| id.to_string())),
            (RECOVERY, self.generation.as_ref().map(ToString::to_string)),
            (ROLLOUT, self.rollout.as_ref().map(ToString::to_string)),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Some(value?)))).collect()
    }
}

/// The earlier charm's leader settings for a running cluster: a URL where it can be joined, its members as
/// `name=peerURL,…`, its token, and when the leader's snapd looks for updates.
pub fn leader_settings(
    token: &str,
    client_url: &str,
    members: &BTreeMap<String, String>,
    snapd_refresh: Option<&String>,
) -> Changes {
    let cluster: Vec<String> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
    Changes::from([
        ("token".to_owned(), Some(token.to_owned())),
        ("leader_address".to_owned(), Some(client_url.to_owned())),
        ("cluster".to_owned(), Some(cluster.join(","))),
        ("snapd_refresh".to_owned(), snapd_refresh.cloned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(pairs: &[(&str, &str)]) -> Databag {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_unit_record_survives_the_databag() {
        let record = UnitRecord {
            address: Some("10.0.0.1".into()),
            peer_url: Some("https://10.0.0.1:2380".into()),
            client_url: Some("https://10.0.0.1:2379".into()),
            member: "8e9e05c52164694d".parse().ok(),
            cluster: "cdf818194e3a8c32".parse().ok(),
            version: "3.5.16".parse().ok(),
            quota: Some(8 << 30),
            serves_v2: true,
            prepared_for: "3.6".parse().ok(),
            generation: "1 etcd/0".parse().ok(),
            log: "3 4711".parse().ok(),
            sees_quorum: true,
            is_data_lost: true,
            reached_at: [("db-7".to_owned(), "192.0.2.1".to_owned())].into(),
        };
        let before =
            UnitRecord { reached_at: [("db-3".to_owned(), "x".to_owned())].into(), ..record.clone() };
        assert_eq!(record.write(&before)["client-address-db-3"], None, "that relation has ended");
        let written = record.write(&before).into_iter().filter_map(|(k, v)| Some((k, v?)));
        let written: Databag = written.collect();
        assert_eq!(written.len(), 14);
        assert_eq!(UnitRecord::read(&written), record);
    }

    #[test]
    fn unreadable_values_of_another_revision_count_as_absent() {
        let record = UnitRecord::read(&bag(&[("member-id", "not hex"), ("db-ingress-address", "10.0.0.1")]));
        assert_eq!((record.member, record.address.as_deref()), (None, Some("10.0.0.1")));
    }

    #[test]
    fn the_earlier_charms_settings_tell_of_a_cluster_until_the_bag_is_written() {
        let settings =
            bag(&[("token", "abc"), ("leader_address", "https://10.0.0.1:2379"), ("cluster", "etcd0=x")]);
        let taken_over = ClusterRecord::read(&Databag::new(), &settings);
        assert!(taken_over.inherited);
        assert_eq!(taken_over.token.as_deref(), Some("abc"));
        let own = bag(&[("token", "mine"), ("bootstrap-unit", "etcd/0")]);
        let record = ClusterRecord::read(&own, &settings);
        assert!(!record.inherited);
        assert_eq!(record.token.as_deref(), Some("mine"));
    }

    #[test]
    fn what_is_not_known_is_not_deleted_from_the_application_bag() {
        let record = ClusterRecord { token: Some("t".into()), ..ClusterRecord::default() };
        assert_eq!(record.write(), Changes::from([("token".to_owned(), Some("t".to_owned()))]));
    }
}

//! `alarm-list` and `alarm-disarm`: the cluster's alarms, typed and as etcdctl prints them.

use anyhow::{Context as _, Result};

use super::cluster::Cluster;
use super::{Report, Results};
use crate::etcd::{Alarm, AlarmKind};
use crate::observe::Local;
use crate::world::Reading;

pub(super) async fn list(look: &Local) -> Result<Report> {
    let cluster = Cluster::reach(look).await?;
    let alarms = cluster.client.alarms().await.context("cannot list the alarms")?;
    Ok(Report::of(Results::from([
        ("count".to_owned(), alarms.len().to_string()),
        ("alarms".to_owned(), in_words(&alarms)),
        ("output".to_owned(), as_etcdctl(&alarms)),
    ])))
}

pub(super) async fn disarm(look: &Local) -> Result<Report> {
    let cluster = Cluster::reach(look).await?;
    let raised = cluster.client.alarms().await.context("cannot list the alarms")?;
    disarm_all(&cluster, &raised).await?;
    let left = cluster.client.alarms().await.context("cannot list the alarms again")?;
    let results = Results::from([
        ("disarmed".to_owned(), in_words(&raised)),
        ("alarms".to_owned(), in_words(&left)),
        ("output".to_owned(), as_etcdctl(&raised)),
    ]);
    let failure = (!left.is_empty()).then(|| {
        format!("still raised: {}; its cause is still there: maintain cures NOSPACE", in_words(&left))
    });
    Ok(Report { results, failure })
}

/// One after the other: etcd disarms one alarm of one member at a time.
pub(super) async fn disarm_all(cluster: &Cluster, alarms: &[Alarm]) -> Result<()> {
    for alarm in alarms {
        let disarmed = cluster.client.disarm(alarm).await;
        disarmed.with_context(|| format!("cannot disarm {}; run it again", in_words(&[*alarm])))?;
    }
    Ok(())
}

/// `NOSPACE on member 8e9e05c52164694d`, or `none`.
pub(super) fn in_words(alarms: &[Alarm]) -> String {
    let words = alarms.iter().map(|alarm| match alarm.member {
        Some(member) => format!("{} on member {member}", alarm.kind),
        None => alarm.kind.to_string(),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// What a look has found.
pub(super) fn told(alarms: &Reading<Vec<Alarm>>) -> String {
    match alarms {
        Reading::Known(raised) => in_words(raised),
        Reading::Unknown(cause) => format!("cannot be listed: {cause}"),
    }
}

/// etcdctl writes the identifier as a decimal number here, and here only.
fn as_etcdctl(alarms: &[Alarm]) -> String {
    let line = |alarm: &Alarm| format!("memberID:{} alarm:{}", alarm.member.map_or(0, |id| id.0), alarm.kind);
    alarms.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The alarms of one kind.
pub(super) fn of_kind(alarms: &[Alarm], kind: AlarmKind) -> Vec<Alarm> {
    alarms.iter().copied().filter(|alarm| alarm.kind == kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::MemberId;

    #[test]
    fn alarms_are_told_in_words_and_as_etcdctl_does() {
        assert_eq!((in_words(&[]), as_etcdctl(&[])), ("none".to_owned(), String::new()));
        let alarms = [
            Alarm { member: Some(MemberId(255)), kind: AlarmKind::NoSpace },
            Alarm { member: None, kind: AlarmKind::Corrupt },
        ];
        assert_eq!(in_words(&alarms), "NOSPACE on member ff, CORRUPT");
        assert_eq!(as_etcdctl(&alarms), "memberID:255 alarm:NOSPACE\nmemberID:0 alarm:CORRUPT");
        assert_eq!(of_kind(&alarms, AlarmKind::Corrupt), [alarms[1]]);
    }
}

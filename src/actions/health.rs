//! `health`: what every member answers when asked directly, and whether a quorum stands.

use anyhow::{Result, bail};

use super::{Report, Results, alarms, cluster};
use crate::clock;
use crate::decide;
use crate::etcd::{self, Member};
use crate::observe::{self, Local};
use crate::world::{Health, Roster};

pub(super) async fn run() -> Result<Report> {
    let mut look = super::look().await?;
    if let Roster::Unconfirmed { .. } = look.etcd.roster {
        tokio::time::sleep(cluster::ELECTION).await;
        look = super::look().await?;
    }
    report(&look).await
}

async fn report(look: &Local) -> Result<Report> {
    let (members, without_quorum) = match &look.etcd.roster {
        Roster::Confirmed(members) => (members, None),
        Roster::Unconfirmed { cause, remembered } => (remembered, Some(cause)),
        Roster::NobodyToAsk => match cluster::why_silent(&look.etcd.door) {
            Some(why) => bail!("{why}"),
            None => bail!("etcd on this unit answers and names no member; try again"),
        },
    };
    let mut results = Results::new();
    let mut lines = Vec::new();
    for member in members {
        let health = look.etcd.health.get(&member.id);
        lines.push(old_form(member, health));
        results.extend(describe(member, health, look).await);
    }
    if let Some(standing) = &look.host.standing {
        let days = standing.days_left(clock::now_s()).to_string();
        results.insert("certificates.days-left".to_owned(), days);
    }
    if !look.host.kept.copies.is_empty() {
        results.insert("old-data.copies".to_owned(), look.host.kept.paths());
        results.insert("old-data.mib".to_owned(), look.host.kept.mib().to_string());
    }
    let sick = members.iter().any(|member| look.etcd.health.get(&member.id) != Some(&Health::Healthy));
    let alarms = alarms::told(&look.etcd.alarms);
    let is_quiet = decide::is_quiet(&look.etcd);
    let healthy = !sick && without_quorum.is_none() && is_quiet;
    lines.push(if healthy { "cluster is healthy" } else { "cluster is unhealthy" }.to_owned());
    results.insert("alarms".to_owned(), alarms.clone());
    results.insert("output".to_owned(), lines.join("\n"));
    let failure = (!healthy).then(|| why(without_quorum, (!is_quiet).then_some(&alarms)));
    Ok(Report { results, failure })
}

fn why(without_quorum: Option<&String>, alarms: Option<&String>) -> String {
    match (without_quorum, alarms) {
        (Some(cause), _) => format!("the cluster has no quorum: {cause}; bring its machines back"),
        (None, Some(alarms)) => format!("alarms: {alarms}; maintain cures NOSPACE, juju status says more"),
        (None, None) => "a member is unhealthy; see the results".to_owned(),
    }
}

/// The line that scripts know from `etcdctl cluster-health`.
fn old_form(member: &Member, health: Option<&Health>) -> String {
    let url = member.client_urls.first().map_or("no client URL", String::as_str);
    match health {
        Some(Health::Healthy) => format!("member {} is healthy: got healthy result from {url}", member.id),
        Some(Health::Unhealthy(why)) => format!("member {} is unhealthy: {url} {why}", member.id),
        None => format!("member {} is unhealthy: it was not asked", member.id),
    }
}

async fn describe(member: &Member, health: Option<&Health>, look: &Local) -> Results {
    let name = cluster::name(member);
    let mut results = Results::new();
    let mut put = |key: &str, value: String| {
        results.insert(format!("members.{name}.{key}"), value);
    };
    put("id", member.id.to_string());
    put("peer-urls", member.peer_urls.join(","));
    put("client-urls", member.client_urls.join(","));
    put("learner", member.learner.to_string());
    put(
        "health",
        match health {
            Some(Health::Healthy) => "healthy".to_owned(),
            Some(Health::Unhealthy(why)) => why.clone(),
            None => "not asked".to_owned(),
        },
    );
    if let Some(status) = observe::status_of(member, &look.host).await {
        if let Some(concern) = etcd::concern(&status.version) {
            put("advice", concern);
        }
        put("version", status.version.to_string());
        put("db-size-bytes", status.db_size_bytes.to_string());
        put("raft-leader", (status.raft_leader == Some(member.id)).to_string());
        put("raft-index", status.raft_index.to_string());
    }
    results
}

//! `snapshot keys-version=v2`: the old store of this unit's member, where there is one with keys in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Target, archive_results, telling};
use crate::actions::cluster::why_silent;
use crate::actions::{Report, Results};
use crate::backup::{self, V2Source};
use crate::clock;
use crate::decide::{COMMON, DATA};
use crate::etcd::{self, Credentials, Minor, OnDisk, read_config};
use crate::host::{self, Releases};
use crate::juju::{Tools, UnitName};
use crate::observe::{self, Local};
use crate::world::Door;

/// The last minor with a v2 store.
const LAST: Minor = Minor { major: 3, minor: 5 };

pub(super) async fn run(unit: &UnitName, look: &Local, target: &str, tools: &Tools) -> Result<Report> {
    let config = look.host.config.as_deref().context(
        "keys-version: v2 cannot be saved: this unit has no configuration of etcd yet; wait until it is active",
    )?;
    let config = read_config(config)?;
    if let Some(why) = why_not(look, &config) {
        bail!("keys-version: v2 cannot be saved: {why}");
    }
    let etcdctl = match look.host.releases.current {
        Some(_) => Releases::system().current_path().join("etcdctl"),
        None => PathBuf::from("/snap/bin/etcd.etcdctl"),
    };
    let warning = unconfirmed(look).await;
    let endpoint = observe::own_endpoints(&look.host).into_iter().next();
    let endpoint = endpoint.context("cannot tell where etcd listens on this unit")?;
    let keys = host::v2_keys(&endpoint, COMMON)
        .await
        .context("keys-version: v2 cannot be saved: the v2 store does not answer")?;
    if keys == 0 {
        bail!("keys-version: there are no v2 keys; keys-version=v3 saves the others");
    }
    let source = V2Source {
        etcdctl,
        data: PathBuf::from(config.data_dir.as_deref().unwrap_or(DATA)),
        log: config.wal_dir.map(PathBuf::from),
        scratch: Path::new(COMMON).join(".v2-backup.partial"),
    };
    let target = Target::prepare(target)?;
    let saving = backup::save_v2(&source, &target.path, clock::now_s());
    let saved = target.keep_if(telling(saving, "saving the v2 store", tools).await)?;
    let mut results: Results = archive_results(unit, &saved.path, saved.bytes, saved.sha256);
    results.insert("snapshot.keys".to_owned(), keys.to_string());
    if let Door::Open(status) = &look.etcd.door {
        results.insert("snapshot.version".to_owned(), status.version.to_string());
    }
    if let Some(warning) = warning {
        results.insert("snapshot.warning".to_owned(), warning);
    }
    Ok(Report::of(results))
}

/// Why there is nothing to save here.
fn why_not(look: &Local, config: &OnDisk) -> Option<String> {
    match &look.etcd.door {
        Door::Open(status) if status.version.minor_version() > LAST => {
            Some(format!("etcd {} has no v2 store; accepted: v3", status.version))
        }
        Door::Open(status) if status.learner => {
            Some("this unit's member is still joining; run it on another unit".to_owned())
        }
        Door::Open(_) if !config.enable_v2 => Some(
            "the v2 store is off; set enable_v2=true if it holds keys, or use keys-version=v3".to_owned(),
        ),
        Door::Open(_) => None,
        silent => why_silent(silent),
    }
}

/// The store is read on this unit alone: what it may miss is told.
async fn unconfirmed(look: &Local) -> Option<String> {
    let credentials = look.host.credentials.as_ref().map(Credentials::from)?;
    let error = etcd::reach(&observe::own_endpoints(&look.host), &credentials, None).await.err()?;
    Some(format!(
        "the cluster has no quorum ({error}): this is what this unit's member knew, others may know more"
    ))
}

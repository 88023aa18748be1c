//! The attached device and what is mounted from it. A file system that cannot be read is told, never taken for empty.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::host;
use crate::act::STORAGE_RULES;
use crate::decide::{self, COMMON};
use crate::etcd::read_config;
use crate::host::volume::{self, MountUnit};
use crate::host::{FORMATTING, etcd_service};
use crate::storage::{Attached, DATA, Inside, MOUNT, Mounted, OWNER, Owner, Volume};
use crate::world::{Data, Reading};

pub(super) async fn attached(known: Option<&(String, Reading<PathBuf>)>) -> Option<Attached> {
    let (id, device) = known?;
    let device = match device {
        Reading::Known(path) => match volume::probe(path).await {
            Ok(device) => Reading::Known(device),
            Err(error) => Reading::Unknown(format!("{error:#}")),
        },
        Reading::Unknown(why) => Reading::Unknown(why.clone()),
    };
    Some(Attached { id: id.clone(), device })
}

pub(super) fn volume() -> Result<Volume> {
    let mounted = volume::mounted_at(MOUNT)?.map(|mount| Mounted {
        number: mount.number,
        source: mount.source,
        inside: match inside() {
            Ok(inside) => Reading::Known(inside),
            Err(error) => Reading::Unknown(format!("{error:#}")),
        },
    });
    Ok(Volume {
        mounted,
        unit: host::text(MountUnit::new(MOUNT).path())?,
        rules: host::text(etcd_service().dropin_path(STORAGE_RULES))?,
        formatting: host::text(format!("{COMMON}/{FORMATTING}"))?,
    })
}

fn inside() -> Result<Inside> {
    let owner = host::text(OWNER).context("cannot tell whose the storage is")?;
    Ok(Inside { data: host::data(DATA)?, owner: owner.as_deref().map(Owner::parse) })
}

/// As etcd's file says. Before there is one, or any data where it says, storage that the charm has mounted is the place.
pub(super) fn data_dir(config: Option<&str>, root_data: &Data, volume: &Volume) -> &'static str {
    let configured = config.and_then(|config| read_config(config).ok()?.data_dir);
    let is_ready = volume.mounted.is_some() && volume.unit.is_some() && *root_data == Data::Empty;
    if configured.as_deref() == Some(DATA) || is_ready { DATA } else { decide::DATA }
}

/// The member's data on the storage: nothing while it is not mounted, where no rule starts etcd either.
pub(super) fn data(volume: &Volume) -> Data {
    match volume.mounted.as_ref().map(|mounted| &mounted.inside) {
        Some(Reading::Known(inside)) => inside.data.clone(),
        Some(Reading::Unknown(_)) => Data::Partial("a readable storage"),
        None => Data::Empty,
    }
}

//! The attached device and what is mounted from it. A file system that cannot be read is told, never taken for empty.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{host, place};
use crate::act::STORAGE_RULES;
use crate::host::etcd_service;
use crate::host::volume::{self, MountUnit};
use crate::state::StateFile;
use crate::storage::{Attached, DATA, Inside, MOUNT, Mounted, OWNER, Owner, Volume};
use crate::world::{Data, Place, Reading};

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
        adopted: StateFile::AdoptedVolumes.text()?.unwrap_or_default().lines().map(str::to_owned).collect(),
        formatting: StateFile::Formatting.text()?,
    })
}

fn inside() -> Result<Inside> {
    let owner = host::text(OWNER).context("cannot tell whose the storage is")?;
    Ok(Inside { data: place::data(&Place::whole(DATA)), owner: owner.as_deref().map(Owner::parse) })
}

/// The member's data on the storage: nothing while it is not mounted, where no rule starts etcd either.
pub(super) fn data(volume: &Volume) -> Data {
    match volume.mounted.as_ref().map(|mounted| &mounted.inside) {
        Some(Reading::Known(inside)) => inside.data.clone(),
        Some(Reading::Unknown(why)) => Data::Unreadable(why.clone()),
        None => Data::Empty,
    }
}

//! Storage `data` of a scene, and what is on it.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::worlds::CLUSTER;
use super::Scene;
use super::machine::Machine;
use crate::host::volume::{Content, Device, MountUnit};
use crate::storage::{self, Attached, Inside, LABEL, MOUNT, Mounted, Owner};
use crate::world::{Data, Place, Reading, World};

const UUID: &str = "7e6d-1";
const RULES: &str = include_str!("../../../templates/storage.conf");
const UNIT: &str = include_str!("../../../templates/media-etcd.mount");

/// Storage `data`, and what is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Volume {
    None,
    Blank,
    /// Found empty by a run that was killed while it formatted it.
    Begun,
    Foreign,
    Unreadable,
    /// Of ours, and not mounted.
    Unmounted,
    /// Mounted and empty; the data is elsewhere.
    Beside,
    /// The data is there, and nobody has said whose it is.
    Unclaimed,
    Own,
    /// The data of a member of so many voters is there.
    OfAnother(usize),
    MountedUnreadable,
    /// etcd's file names the storage, and there is none.
    Taken,
}

pub(super) fn volume() -> impl Strategy<Value = Volume> {
    use Volume::{
        Begun, Beside, Blank, Foreign, MountedUnreadable, OfAnother, Own, Taken, Unclaimed, Unmounted,
        Unreadable,
    };
    let attached = vec![
        Blank,
        Begun,
        Foreign,
        Unreadable,
        Unmounted,
        Beside,
        Unclaimed,
        Own,
        Own,
        OfAnother(1),
        OfAnother(3),
        MountedUnreadable,
        Taken,
    ];
    prop_oneof![3 => Just(Volume::None), 1 => select(attached)]
}

impl Machine {
    pub(super) fn place_data(&self, w: &mut World, scene: &Scene) {
        w.host.data = self.disk_under(&w.etcd.door).data();
        if !self.is_on_storage() {
            w.host.root_data = w.host.data.clone();
        } else {
            (w.host.place, w.host.root_data) = (Place::whole(storage::DATA), self.root.data());
        }
        let owner = |unit: String, voters: usize| Owner {
            unit,
            model: "m".into(),
            cluster: Some(CLUSTER),
            voters: Some(voters),
            ..Owner::default()
        };
        let own = owner(format!("etcd/{}", scene.own), scene.others.len() + 1);
        let ours = || Content::FileSystem { kind: "ext4".into(), label: LABEL.into(), uuid: UUID.into() };
        let inside = self.disk_under(&w.etcd.door).data();
        let content = match self.volume {
            Volume::None | Volume::Taken => None,
            Volume::Blank => Some(Content::Blank),
            Volume::Begun => Some(Content::Unrecognized),
            Volume::Foreign => Some(Content::Other("LVM2_member".into())),
            _ => Some(ours()),
        };
        let path = PathBuf::from("/dev/sdb");
        w.storage = content.map(|content| Attached {
            id: "data/0".into(),
            device: match self.volume {
                Volume::Unreadable => Reading::Unknown("cannot find /dev/sdb".into()),
                _ => Reading::Known(Device { path, number: (8, 16), content }),
            },
        });
        w.host.volume.formatting = (self.volume == Volume::Begun).then(|| "data/0".into());
        let known = |data: Data, owner: Option<Owner>| Reading::Known(Inside { data, owner });
        let inside = match self.volume {
            Volume::Beside => Some(known(Data::Empty, Some(own))),
            Volume::Unclaimed => Some(known(inside, None)),
            Volume::Own => Some(known(inside, Some(own))),
            Volume::OfAnother(voters) => Some(known(inside, Some(owner("etcd/8".into(), voters)))),
            Volume::MountedUnreadable => Some(Reading::Unknown("input/output error".into())),
            _ => None,
        };
        let is_set_up = inside.is_some() || matches!(self.volume, Volume::Taken | Volume::Unmounted);
        w.host.volume.mounted =
            inside.map(|inside| Mounted { number: (8, 16), source: "/dev/sdb".into(), inside });
        w.host.volume.unit = is_set_up.then(|| MountUnit::new(MOUNT).text(UNIT, UUID));
        w.host.volume.rules = is_set_up.then(|| RULES.into());
        match self.volume {
            Volume::Taken | Volume::Unmounted => w.host.data = Data::Empty,
            Volume::MountedUnreadable => w.host.data = Data::Partial("a readable storage"),
            _ => {}
        }
    }
}

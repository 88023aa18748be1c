//! Small models for the tests of rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::charm::metadata;
use crate::machine::MachineKind;

use super::{Application, CharmRecord, Declared, JujuVersion, Life, MachineState, Model, Network};

/// A model with one application for each `metadata.yaml`, without units.
pub fn model(charms: &[&str]) -> Model {
    let mut model = Model::new("test", JujuVersion::V3_6, Network::default());
    for text in charms {
        let metadata = metadata::parse(text).unwrap();
        let name = metadata.name.clone();
        let declared = Arc::new(Declared {
            metadata,
            options: BTreeMap::new(),
            actions: BTreeMap::new(),
            version: None,
        });
        let application = Application {
            name: name.clone(),
            charm: CharmRecord { directory: PathBuf::new(), revision: 0, declared },
            charm_modified_version: 0,
            life: Life::Alive,
            next_unit: 0,
            config: BTreeMap::new(),
            trust: false,
            exposed: false,
            status: None,
            resources: BTreeMap::new(),
            lease: None,
            leader_settings: BTreeMap::new(),
            leader_settings_version: 0,
            storage: BTreeMap::new(),
            bindings: BTreeMap::new(),
            machines: MachineKind::Light,
        };
        model.applications.insert(name.clone(), application);
        model.add_peer_relations(&name);
    }
    model
}

/// Adds a unit on a started machine.
pub fn add_unit(model: &mut Model, application: &str) -> String {
    let unit = model.add_unit(application, &BTreeMap::new(), &[]).unwrap();
    let machine = model.units[&unit].machine.clone();
    model.machines.get_mut(&machine).unwrap().state = MachineState::Started;
    unit
}

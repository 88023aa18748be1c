//! Storage: what units' devices and directories are made from, and whose they are.
//!
//! Block storage lives with the model, as a cloud's volumes do: it is detached when its unit goes, and can be attached
//! to another. Filesystem storage is a directory of its machine and goes with it, as Juju's `rootfs` pool does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::charm::metadata::parse_size_mib;
use crate::charm::{StorageKind, StorageSpec};

use super::{Life, Model, Unit};

/// Default size of an instance, MiB.
const SIZE_MIB_DEFAULT: u64 = 1024;

/// What an application's units get by one storage name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageDirective {
    /// `loop`, `rootfs`, …; only shown.
    pub pool: String,
    /// Size of each instance.
    pub size_mib: u64,
    /// Instances per unit.
    pub count: u32,
}

impl StorageDirective {
    /// Reads `[POOL][,COUNT][,SIZE]` in any order, as `--storage name=…` takes it.
    pub fn parse(text: &str, spec: &StorageSpec) -> Result<Self, String> {
        let pool = if spec.kind == StorageKind::Block { "loop" } else { "rootfs" };
        let size_mib = SIZE_MIB_DEFAULT.max(spec.minimum_size_mib);
        let mut directive = Self { pool: pool.to_owned(), size_mib, count: spec.minimum.max(1) };
        for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            let starts_with_digit = field.starts_with(|c: char| c.is_ascii_digit());
            if let Ok(count) = field.parse::<u32>() {
                directive.count = count;
            } else if starts_with_digit {
                directive.size_mib =
                    parse_size_mib(field).map_err(|error| format!("cannot parse size: {error:#}"))?;
            } else {
                field.clone_into(&mut directive.pool);
            }
        }
        if spec.maximum.is_some_and(|maximum| directive.count > maximum) {
            return Err(format!(
                "at most {} instances supported, {} specified",
                spec.maximum.unwrap_or(0),
                directive.count
            ));
        }
        if directive.size_mib < spec.minimum_size_mib {
            return Err(format!(
                "minimum storage size is {}M, {}M specified",
                spec.minimum_size_mib, directive.size_mib
            ));
        }
        Ok(directive)
    }

    /// What a unit gets without being asked.
    pub fn default_for(spec: &StorageSpec) -> Self {
        let pool = if spec.kind == StorageKind::Block { "loop" } else { "rootfs" };
        let size_mib = SIZE_MIB_DEFAULT.max(spec.minimum_size_mib);
        Self { pool: pool.to_owned(), size_mib, count: spec.minimum }
    }
}

/// A device or directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StorageInstance {
    /// `data/0`.
    pub id: String,
    /// `data`.
    pub name: String,
    /// What it is.
    pub kind: StorageKind,
    /// Pool it was asked from.
    pub pool: String,
    /// Size.
    pub size_mib: u64,
    /// The unit it is attached to.
    pub unit: Option<String>,
    /// Whether it is to stay attached.
    pub life: Life,
    /// Whether it is to be destroyed once it is detached.
    pub destroy: bool,
    /// Path inside of the machine, once it is there.
    pub location: Option<String>,
    /// Where a filesystem is to be.
    pub wanted_location: String,
}

impl StorageInstance {
    /// Whether its own unit's machine is to make it ready.
    pub fn is_wanted_by(&self, unit: &Unit) -> bool {
        let is_told = unit.agent.storage_attached.contains(&self.id);
        (self.life, unit.life) == (Life::Alive, Life::Alive) && !is_told && self.location.is_none()
    }
}

impl Model {
    /// Makes an instance for a unit, to be provisioned on its machine.
    pub fn create_storage(
        &mut self,
        unit: &str,
        name: &str,
        spec: &StorageSpec,
        directive: &StorageDirective,
    ) -> String {
        let id = format!("{name}/{}", self.sequence.storage);
        self.sequence.storage += 1;
        let wanted_location = match &spec.location {
            Some(location) if spec.multiple => format!("{}/{id}", location.trim_end_matches('/')),
            Some(location) => location.clone(),
            None => format!("/var/lib/juju/storage/{id}"),
        };
        let instance = StorageInstance {
            id: id.clone(),
            name: name.to_owned(),
            kind: spec.kind,
            pool: directive.pool.clone(),
            size_mib: directive.size_mib,
            unit: Some(unit.to_owned()),
            life: Life::Alive,
            destroy: false,
            location: None,
            wanted_location,
        };
        self.storage.insert(id.clone(), instance);
        id
    }

    /// Makes all that the directives of a new unit's application ask for, but for the names in `attached`.
    pub fn create_unit_storage(
        &mut self,
        unit: &str,
        extra: &BTreeMap<String, StorageDirective>,
        attached: &[String],
    ) {
        let Some(application) =
            self.units.get(unit).and_then(|unit| self.applications.get(&unit.application))
        else {
            return;
        };
        let mut wanted = application.storage.clone();
        wanted.extend(extra.clone());
        let specs = application.charm.declared.metadata.storage.clone();
        for (name, directive) in wanted {
            let Some(spec) = specs.get(&name) else { continue };
            let already = attached.iter().filter(|id| id.split('/').next() == Some(&name)).count();
            let missing = usize::try_from(directive.count).unwrap_or(0).saturating_sub(already);
            for _ in 0..missing {
                self.create_storage(unit, &name, spec, &directive);
            }
        }
    }

    /// Gives a detached instance to a unit.
    pub fn attach_storage(&mut self, unit: &str, id: &str) -> Result<(), String> {
        let application = self.units.get(unit).map(|unit| unit.application.clone());
        let declared = application
            .and_then(|application| self.applications.get(&application))
            .map(|application| application.charm.declared.metadata.storage.clone())
            .ok_or_else(|| format!("unit {unit:?} not found"))?;
        let instance =
            self.storage.get_mut(id).ok_or_else(|| format!("storage instance {id:?} not found"))?;
        let Some(spec) = declared.get(&instance.name) else {
            return Err(format!(
                "cannot attach storage {id} to unit {unit}: charm storage {:?} not found",
                instance.name
            ));
        };
        if instance.kind != spec.kind {
            return Err(format!("cannot attach storage {id} to unit {unit}: kinds differ"));
        }
        if let Some(owner) = &instance.unit {
            return Err(format!(
                "cannot attach storage {id} to unit {unit}: storage is attached to unit {owner}"
            ));
        }
        instance.unit = Some(unit.to_owned());
        instance.life = Life::Alive;
        Ok(())
    }

    /// The instances of a unit, by id.
    pub fn storage_of<'a>(&'a self, unit: &'a str) -> impl Iterator<Item = &'a StorageInstance> + 'a {
        self.storage.values().filter(move |instance| instance.unit.as_deref() == Some(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_order() {
        let spec = StorageSpec {
            kind: StorageKind::Block,
            description: String::new(),
            location: None,
            minimum: 0,
            maximum: Some(2),
            minimum_size_mib: 100,
            multiple: true,
        };
        let directive =
            |pool: &str, size_mib, count| StorageDirective { pool: pool.to_owned(), size_mib, count };
        let rows = [
            ("1G", directive("loop", 1024, 1)),
            ("ebs,2,4G", directive("ebs", 4096, 2)),
            ("512M,loop", directive("loop", 512, 1)),
        ];
        for (text, expected) in rows {
            assert_eq!(StorageDirective::parse(text, &spec).unwrap(), expected, "{text}");
        }
        assert!(StorageDirective::parse("3", &spec).is_err());
        assert!(StorageDirective::parse("10M", &spec).is_err());
        assert_eq!(StorageDirective::default_for(&spec).count, 0);
    }
}

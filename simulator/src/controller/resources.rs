//! Resources: uploads are copied into the model, so that the file on the host may change or go.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha384};

use crate::agent::Engine;
use crate::model::{Declared, Resource};

use super::requests::no_application;

/// Refuses uploads that the charm does not declare, and those whose names end in another extension than the declared ones:
/// Juju's controller does not look inside. Source: its handler of resource uploads.
pub fn check(declared: &Declared, uploads: &BTreeMap<String, PathBuf>) -> Result<(), String> {
    for (name, file) in uploads {
        let Some(resource) = declared.metadata.resources.get(name) else {
            return Err(format!("unrecognized resource {name:?}"));
        };
        let wanted = extension(Path::new(&resource.filename));
        if extension(file) != wanted {
            let file = file.display().to_string();
            return Err(format!("incorrect extension on resource upload {file:?}, expected {wanted:?}"));
        }
    }
    Ok(())
}

/// From the last dot of the name, with it; empty where there is none.
fn extension(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.rfind('.').map(|dot| name[dot..].to_owned()).unwrap_or_default()
}

/// Copies uploads into the model.
pub fn keep(
    engine: &Engine,
    application: &str,
    uploads: &BTreeMap<String, PathBuf>,
    old: &BTreeMap<String, Resource>,
) -> Result<BTreeMap<String, Resource>, String> {
    let directory = engine.directory.join("resources");
    let mut kept = BTreeMap::new();
    for (name, source) in uploads {
        let revision = old.get(name).map_or(1, |resource| resource.revision + 1);
        let file = directory.join(format!("{application}-{name}-{revision}"));
        let size = fs::create_dir_all(&directory)
            .and_then(|()| fs::copy(source, &file))
            .map_err(|error| format!("open {}: {error}", source.display()))?;
        kept.insert(name.clone(), Resource { file, revision, size });
    }
    Ok(kept)
}

pub fn attach(engine: &Engine, application: &str, name: &str, file: &Path) -> Result<Value, String> {
    let (declared, old) = engine
        .store
        .read(|model| {
            let application = model.applications.get(application)?;
            Some((application.charm.declared.clone(), application.resources.clone()))
        })
        .ok_or_else(|| no_application(application))?;
    let uploads = BTreeMap::from([(name.to_owned(), file.to_path_buf())]);
    check(&declared, &uploads)?;
    let kept = keep(engine, application, &uploads, &old)?;
    engine.store.update(|model| {
        if let Some(application) = model.applications.get_mut(application) {
            application.resources.extend(kept);
            // An upload makes the agents run upgrade-charm, as a new charm does.
            application.charm_modified_version += 1;
        }
    });
    Ok(Value::Null)
}

pub fn list(engine: &Engine, application: &str) -> Result<Value, String> {
    let (declared, uploads) = engine
        .store
        .read(|model| {
            let application = model.applications.get(application)?;
            Some((application.charm.declared.clone(), application.resources.clone()))
        })
        .ok_or_else(|| no_application(application))?;
    let mut rows = Vec::new();
    for (name, spec) in &declared.metadata.resources {
        let mut row = json!({"name": name, "type": spec.kind, "filename": spec.filename, "description": spec.description});
        if let (Some(upload), Value::Object(row)) = (uploads.get(name), &mut row) {
            row.insert("revision".to_owned(), json!(upload.revision));
            row.insert("size".to_owned(), json!(upload.size));
            row.insert("fingerprint".to_owned(), json!(fingerprint(&upload.file)?));
        }
        rows.push(row);
    }
    Ok(Value::Array(rows))
}

fn fingerprint(file: &Path) -> Result<String, String> {
    let mut hash = Sha384::new();
    fs::File::open(file)
        .and_then(|mut file| io::copy(&mut file, &mut hash))
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

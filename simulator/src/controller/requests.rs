//! Which request is answered where.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::agent::Engine;
use crate::api::Request;

use super::connection::Answers;
use super::{applications, configuration, lab, report, resources, show, storage, tasks, units, wait};

/// Carries out a request; texts of failures are Juju's where it has one.
pub async fn carry_out(
    engine: &Arc<Engine>,
    request: Request,
    answers: &mut Answers,
) -> Result<Value, String> {
    match request {
        Request::Deploy(deploy) => applications::deploy(engine, deploy),
        Request::Refresh { application, charm, resources, force_units } => {
            applications::refresh(engine, &application, &charm, &resources, force_units)
        }
        Request::RemoveApplication { application, force, destroy_storage } => {
            applications::remove(engine, &application, force, destroy_storage).await
        }
        Request::Expose { application, exposed } => applications::expose(engine, &application, exposed),
        Request::Trust { application, trusted } => applications::trust(engine, &application, trusted),
        Request::Integrate { left, right } => applications::integrate(engine, &left, &right),
        Request::RemoveRelation { left, right } => applications::remove_relation(engine, &left, &right),
        Request::AddUnit { application, units, storage, attach } => {
            units::add(engine, &application, units, &storage, &attach)
        }
        Request::RemoveUnit { units, force, destroy_storage } => {
            units::remove(engine, &units, force, destroy_storage).await
        }
        Request::Resolved { unit, no_retry } => units::resolve(engine, &unit, no_retry),
        Request::Exec { unit, command, timeout_ms } => units::exec(engine, &unit, command, timeout_ms).await,
        Request::Machine { unit } => units::machine(engine, &unit).await,
        Request::ConfigGet { application, option } => {
            configuration::get(engine, &application, option.as_deref())
        }
        Request::ConfigSet { application, set, reset } => {
            configuration::set(engine, &application, &set, &reset)
        }
        Request::ModelConfig { set, reset } => configuration::model(engine, set, &reset),
        Request::Run { units, action, parameters } => tasks::run(engine, &units, &action, parameters),
        Request::WaitTask { id, timeout_ms } => tasks::follow(engine, &id, timeout_ms, answers).await,
        Request::ShowTask { id } => tasks::show(engine, &id),
        Request::Operations { id } => tasks::operations(engine, id.as_deref()),
        Request::CancelTask { id } => tasks::cancel(engine, &id).await,
        Request::Actions { application } => tasks::actions(engine, &application),
        Request::Status => to_value(&engine.store.read(report::status)),
        Request::ShowUnit { unit } => engine.store.read(|model| show::unit(model, &unit)),
        Request::AttachResource { application, resource, file } => {
            resources::attach(engine, &application, &resource, &file)
        }
        Request::Resources { application } => resources::list(engine, &application),
        Request::AddStorage { unit, name, spec } => storage::add(engine, &unit, &name, &spec),
        Request::AttachStorage { unit, storage } => storage::attach(engine, &unit, &storage),
        Request::DetachStorage { storage } => storage::detach(engine, &storage),
        Request::DebugLog { follow, include, lines, level } => {
            wait::debug_log(engine, follow, &include, lines, level.as_deref(), answers).await
        }
        Request::Wait(wanted) => wait::until(engine, &wanted).await,
        Request::Lab(fault) => lab::carry_out(engine, fault).await,
        Request::Destroy => Ok(json!(null)),
    }
}

/// A value as the answer to a request.
pub fn to_value<T: serde::Serialize>(value: &T) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| format!("cannot write the answer: {error}"))
}

/// Juju's text for an application that is not there.
pub fn no_application(name: &str) -> String {
    format!("application {name:?} not found")
}

/// Juju's text for a unit that is not there.
pub fn no_unit(name: &str) -> String {
    format!("unit {name:?} not found")
}

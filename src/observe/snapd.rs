//! What snapd itself says. Each question starts a program, so it is asked once a run, and only what was once told to it and
//! may have been changed by somebody else.

use tokio::sync::OnceCell;

use crate::decide::HOLD;
use crate::host::{Installed, Snap, SnapError};
use crate::world::{Host, Reading, SnapdSays, Tried, Unready};

/// What is installed, or why that cannot be told; and whether that may be over in a moment.
pub(super) fn installed() -> (Reading<Option<Installed>>, Option<Unready>) {
    let error = match Snap::new("etcd").installed() {
        Ok(installed) => return (Reading::Known(installed), None),
        Err(error) => error,
    };
    let unready = match &error {
        SnapError::NotMounted { revision, .. } => Some(Unready::NotMounted(revision.clone())),
        SnapError::NotInUse { .. } => Some(Unready::NotInUse),
        _ => None,
    };
    (Reading::Unknown(error.to_string()), unready)
}

/// `asked`: what it has answered in this run.
pub(super) async fn look(host: &Host, tried: &Tried, asked: &OnceCell<SnapdSays>) -> SnapdSays {
    let mut says = asked.get_or_init(|| ask(host)).await.clone();
    let told = SnapdSays::nothing("it was told in this run");
    if tried.done("set-snapd") {
        says.options = told.options;
    }
    if tried.done("hold-snap") {
        (says.held, says.version) = (told.held, told.version);
    }
    says
}

async fn ask(host: &Host) -> SnapdSays {
    let mut says = SnapdSays::nothing("it was told nothing");
    if host.releases.current.is_some() {
        return says;
    }
    let is_there = matches!(host.snap, Reading::Known(Some(_)));
    let noted_hold = host.snapd.get(HOLD).map(String::as_str);
    if host.snapd.keys().any(|key| key != HOLD) {
        says.options = reading(Snap::system_options().await);
    }
    match noted_hold {
        Some("held") if is_there => says.held = reading(Snap::new("etcd").is_held().await),
        Some(_) if is_there => {
            says.version = reading(Snap::daemon_version().await.map(Option::unwrap_or_default));
        }
        _ => {}
    }
    says
}

fn reading<T>(answer: Result<T, SnapError>) -> Reading<T> {
    answer.map_or_else(|error| Reading::Unknown(error.to_string()), Reading::Known)
}

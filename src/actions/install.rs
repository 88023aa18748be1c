//! `install`: etcd's snap on this unit replaced by the attached one, for machines without a snap store.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{Report, Results, tell};
use crate::act::{self, Trouble};
use crate::checkup;
use crate::decide::{self, NotYet};
use crate::etcd::Version;
use crate::event::Event;
use crate::host::{self, Installed};
use crate::juju::{Context, Tools};
use crate::observe;
use crate::world::{Reading, Tried, World};

const ATTACH: &str = "juju attach-resource etcd etcd=./etcd.snap";

/// The attached files, looked into.
pub(super) struct Attached {
    pub etcd: PathBuf,
    pub core: Option<PathBuf>,
    pub version: Version,
}

pub(super) async fn run(context: &Context, tools: &Tools) -> Result<Report> {
    let facts = observe::facts(context, Event::Look("install".to_owned()), tools).await?;
    let look = async || observe::world(&facts, tools, &Tried::default()).await;
    let world = look().await?;
    let before = installed(&world)?;
    let attached = attached(tools).await?;
    check(&before, &attached.version)?;
    let named = format!("the attached snap is etcd {}", attached.version);
    let minor = attached.version.minor_version();
    match decide::why_not_yet(&world, &named, minor) {
        None => {}
        Some(NotYet::Preparing(why)) if decide::prepares_for(&world).is_some() => {
            bail!("{why}; then try again")
        }
        Some(NotYet::Preparing(why)) => bail!("{why}: set channel={minor}/stable, then try again"),
        Some(NotYet::Refused(why)) => bail!(why),
    }
    tell(tools, &format!("installing etcd {} over {}", attached.version, before.version)).await;
    checkup::forget().context("cannot see to it that the next check is a full one")?;
    let files =
        act::Files { etcd: &attached.etcd, core: attached.core.as_deref(), version: &attached.version };
    let after = match act::reinstall(files, look).await {
        Ok(after) => after,
        Err(Trouble::NotYet(why) | Trouble::Failed(why)) => return Err(anyhow!(why)),
    };
    let results = [
        ("version", after.version),
        ("revision", after.revision),
        ("previous-version", before.version),
        ("previous-revision", before.revision),
    ];
    Ok(Report::of(Results::from(results.map(|(key, value)| (key.to_owned(), value)))))
}

fn installed(world: &World) -> Result<Installed> {
    if let Some(release) = &world.host.releases.current {
        bail!(
            "this unit runs etcd {} from bin-source and not the snap; set another bin-source",
            release.version
        );
    }
    match &world.host.snap {
        Reading::Unknown(cause) => bail!("cannot tell what is installed: {cause}"),
        Reading::Known(None) => {
            bail!("etcd is not installed yet; the charm does that by itself: see its status")
        }
        Reading::Known(Some(installed)) => Ok(installed.clone()),
    }
}

/// What the operator has attached, if it can be used.
///
/// # Errors
/// Nothing is attached, or it is no snap of etcd: what to do.
pub(super) async fn attached(tools: &Tools) -> Result<Attached> {
    let (etcd, core) = tokio::join!(tools.resource("etcd"), tools.resource("core"));
    let Some(etcd) = etcd.into_path() else {
        bail!("no snap of etcd is attached, or an empty file; attach one: {ATTACH}");
    };
    let version = named(&etcd, "etcd").await?.parse();
    let version = version.context("cannot use the attached etcd resource")?;
    let core = core.into_path();
    if let Some(core) = &core {
        named(core, "core").await?;
    }
    Ok(Attached { etcd, core, version })
}

/// The version of the snap in a resource, which must be of that name.
async fn named(path: &Path, name: &str) -> Result<String> {
    let snap = host::snap_file::read(path).await;
    let snap =
        snap.with_context(|| format!("cannot use the attached {name} resource; attach another: {ATTACH}"))?;
    // Bases have had other names since (core20, …) and all come by this resource.
    let fits = if name == "etcd" { snap.name == name } else { snap.name.starts_with(name) };
    ensure!(fits, "the attached {name} resource is a snap of {}; attach one of {name}", snap.name);
    Ok(snap.version)
}

/// etcd moves up one minor at a time and not down.
fn check(before: &Installed, wanted: &Version) -> Result<()> {
    let installed: Version =
        before.version.parse().context("cannot tell the version of the installed etcd")?;
    let next = installed.minor_version().next();
    if *wanted < installed {
        bail!(
            "the attached snap is etcd {wanted}, below the installed {installed}, and etcd does not move down"
        );
    }
    if wanted.minor_version() > next {
        bail!("the attached snap is etcd {wanted}, which skips {next}: attach one of {next} first");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_version_or_the_next_minor_is_taken() {
        let before = Installed { revision: "x1".into(), version: "3.4.23".into() };
        let why = |wanted: &str| check(&before, &wanted.parse().unwrap()).map_err(|error| error.to_string());
        for wanted in ["3.4.23", "3.4.30", "3.5.0"] {
            assert_eq!(why(wanted), Ok(()));
        }
        assert!(why("3.4.22").unwrap_err().contains("below the installed 3.4.23"));
        assert!(why("3.6.1").unwrap_err().contains("which skips 3.5: attach one of 3.5 first"));
    }
}

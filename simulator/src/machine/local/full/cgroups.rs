//! Control groups of full machines. Machines that share one see each other's processes in it as number 0, and systemd stops
//! strangers. Invariant: all that is below a machine's group is gone once it was removed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long the last process of a group may take to be gone from it.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

const TOP: &str = "/sys/fs/cgroup";
/// Where each hierarchy of a host with the older kind of control groups is, as far as systemd and snapd use them.
const HIERARCHIES: [&str; 4] = ["unified", "systemd", "freezer", "pids"];

/// The roots of the hierarchies of this host.
fn roots() -> Vec<PathBuf> {
    let top = Path::new(TOP);
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_owned()];
    }
    HIERARCHIES.iter().map(|name| top.join(name)).filter(|root| root.is_dir()).collect()
}

/// Put the calling process into the group of this name, made when there is none.
pub fn join(name: &Path) -> Result<()> {
    for root in roots() {
        let group = root.join(name);
        fs::create_dir_all(&group)
            .and_then(|()| fs::write(group.join("cgroup.procs"), "0"))
            .with_context(|| format!("cannot enter the control group {}", group.display()))?;
    }
    Ok(())
}

/// Remove the group of this name and all below it. Their processes are ending.
pub fn remove(name: &Path) -> Result<()> {
    let deadline = Instant::now() + EMPTY_LIMIT;
    roots().iter().try_for_each(|root| remove_below(&root.join(name), deadline))
}

fn remove_below(group: &Path, deadline: Instant) -> Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", group.display())),
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path(), deadline)?;
    }
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot remove the control group {}", group.display()));
            }
            _ => return Ok(()),
        }
    }
}

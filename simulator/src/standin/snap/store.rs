//! The snap store: a directory of the host, `<name>/<track>/<risk>.snap`, with the revision's number in `<risk>.revision`.
//! Invariant: while the file `.offline` is in it, nothing of it can be had.

use std::fs;
use std::path::{Path, PathBuf};

use super::channel::{Channel, RISKS};
use super::{Done, error};

/// Where the store is in a machine.
pub const DIRECTORY: &str = "/run/juju-sim/store";

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub channel: Channel,
    pub file: PathBuf,
    /// The number the store gave it, if it says one.
    pub number: Option<String>,
}

impl Release {
    /// The number it goes by.
    pub fn number(&self) -> Done<String> {
        match &self.number {
            Some(number) => Ok(number.clone()),
            None => super::unpack::hash(&self.file)
                .map(|(hash, _)| number_from_hash(&hash))
                .map_err(|reason| error(format!("cannot read {}: {reason}", self.file.display()))),
        }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// What the store has under a name and a channel.
pub fn find(directory: &Path, name: &str, channel: &Channel) -> Done<Release> {
    let all = releases(directory, name)?;
    if all.is_empty() {
        return Err(error(format!("snap \"{name}\" not found")));
    }
    if let Some(branch) = &channel.branch {
        let base = format!("{}/{}", channel.track, channel.risk);
        return Err(error(format!(
            "requested a non-existing branch on {base} for snap \"{name}\": {branch}"
        )));
    }
    let matching = |risk: &str| {
        all.iter().find(|release| release.channel.track == channel.track && release.channel.risk == risk)
    };
    match channel.risks().find_map(matching) {
        Some(release) => Ok(release.clone()),
        None => Err(error(not_available(name, channel, &all))),
    }
}

fn not_available(name: &str, channel: &Channel, all: &[Release]) -> String {
    let mut text = format!(
        "snap \"{name}\" is not available on {channel} but is available to install on the following\n       channels:\n\n"
    );
    for release in all {
        let shown = release.channel.to_string();
        text.push_str(&format!("       {shown:<15} snap install --channel={shown} {name}\n"));
    }
    text.push_str(
        "\n       Please be mindful pre-release channels may include features not completely tested or\n       implemented. Get more information with 'snap info ",
    );
    text.push_str(&format!("{name}'."));
    text
}

/// All releases of a snap, by track and risk.
pub fn releases(directory: &Path, name: &str) -> Done<Vec<Release>> {
    if directory.join(".offline").exists() {
        return Err(error("unable to contact snap store"));
    }
    let mut found = Vec::new();
    let tracks = fs::read_dir(directory.join(name)).into_iter().flatten().flatten();
    for track in tracks {
        for risk in RISKS {
            let file = track.path().join(format!("{risk}.snap"));
            if file.is_file() {
                let number = fs::read_to_string(track.path().join(format!("{risk}.revision"))).ok();
                let channel = Channel {
                    track: track.file_name().to_string_lossy().into_owned(),
                    risk: risk.to_owned(),
                    branch: None,
                };
                found.push(Release { channel, file, number: number.map(|text| text.trim().to_owned()) });
            }
        }
    }
    found.sort_by(|left, right| left.channel.track.cmp(&right.channel.track));
    Ok(found)
}

/// The number of a release to which the store gave none: made from its hash, so that it is the same everywhere.
pub fn number_from_hash(hash: &str) -> String {
    let start = u32::from_str_radix(&hash[..hash.len().min(6)], 16).unwrap_or(0);
    (start % 9000 + 1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for track in ["3.4", "3.5"] {
            let directory = place.path().join("etcd").join(track);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("stable.snap"), "x").unwrap();
        }
        fs::write(place.path().join("etcd/3.5/stable.revision"), "231\n").unwrap();
        place
    }

    fn find_in(place: &Path, name: &str, channel: &str) -> Done<Release> {
        find(place, name, &Channel::parse(channel, None).unwrap())
    }

    #[test]
    fn an_unreleased_risk_follows_the_stabler_one() {
        let place = store();
        let release = find_in(place.path(), "etcd", "3.5/edge").unwrap();
        assert_eq!(release.channel.to_string(), "3.5/stable");
        assert_eq!(release.number.as_deref(), Some("231"));
    }

    #[test]
    fn what_the_store_does_not_have_is_told_apart() {
        let place = store();
        assert_eq!(
            find_in(place.path(), "nosuch", "stable").unwrap_err(),
            error("snap \"nosuch\" not found")
        );
        let Err(crate::standin::snap::Failure::Error(text)) = find_in(place.path(), "etcd", "9.9") else {
            panic!("found")
        };
        assert!(text.starts_with("snap \"etcd\" is not available on 9.9/stable but is available"));
        assert!(text.contains("3.4/stable"));
        let Err(crate::standin::snap::Failure::Error(text)) = find_in(place.path(), "etcd", "3.4/edge/fix")
        else {
            panic!("found")
        };
        assert_eq!(text, "requested a non-existing branch on 3.4/edge for snap \"etcd\": fix");
        fs::write(place.path().join(".offline"), "").unwrap();
        assert_eq!(find_in(place.path(), "etcd", "3.4").unwrap_err(), error("unable to contact snap store"));
    }

    #[test]
    fn a_number_made_from_a_hash_is_a_positive_integer() {
        assert_eq!(number_from_hash("000000ff"), "1");
        assert_eq!(number_from_hash("ffffff00"), number_from_hash("ffffffff"));
    }
}

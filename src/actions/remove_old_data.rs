//! `remove-old-data`: the copies that were set aside when a member was removed, restored, replaced or moved. Never without the
//! operator's word, and only while the member that they are copies of another time of works.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::parameters::Parameters;
use super::{Report, Results};
use crate::host::directory;
use crate::observe::Local;
use crate::world::{Door, Roster};

pub(super) fn run(look: &Local, parameters: &Parameters) -> Result<Report> {
    let confirmed = parameters.flag("confirm")?;
    let kept = &look.host.kept;
    let mut results =
        Results::from([("copies".to_owned(), kept.paths()), ("mib".to_owned(), kept.mib().to_string())]);
    if kept.copies.is_empty() {
        return Ok(Report::of(results));
    }
    if let Some(why) = why_needed(look) {
        return Ok(Report { results, failure: Some(format!("nothing was removed: {why}")) });
    }
    if !confirmed {
        let failure =
            "nothing was removed: to remove what the results list for good, run it again with confirm=true";
        return Ok(Report { results, failure: Some(failure.to_owned()) });
    }
    for copy in &kept.copies {
        directory::remove_if_exists(Path::new(&copy.path))
            .with_context(|| format!("cannot remove {}", copy.path))?;
        tracing::info!(path = copy.path, "an old copy of the data was removed");
    }
    results.insert("removed".to_owned(), kept.copies.len().to_string());
    Ok(Report::of(results))
}

/// Why a copy may be the last one that works.
fn why_needed(look: &Local) -> Option<String> {
    if look.host.restore.is_some() || look.host.recovery.is_some() || look.host.moving.is_some() {
        return Some("a restore, a recovery or an upgrade is under way: wait until it has ended".to_owned());
    }
    match (&look.etcd.door, &look.etcd.roster) {
        (Door::Open(status), Roster::Confirmed(_)) if !status.learner => None,
        _ => Some("this unit's member does not serve now: wait until the unit is active".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::worlds::{settled, three};
    use crate::world::{Kept, KeptCopy};

    fn with_copy(path: &Path) -> Local {
        let w = settled(0, &three());
        let mut look = Local { host: w.host, etcd: w.etcd };
        let copy = KeptCopy { path: path.display().to_string(), bytes: 5 << 20, is_near: true };
        look.host.kept = Kept { copies: vec![copy], percent: 1 };
        look
    }

    #[test]
    fn nothing_goes_without_a_word_or_while_it_may_be_needed() {
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join("member.removed-1");
        std::fs::create_dir(&copy).unwrap();
        let mut look = with_copy(&copy);
        let report = run(&look, &Parameters::default()).unwrap();
        assert!(report.failure.unwrap().ends_with("run it again with confirm=true"));
        assert_eq!((report.results["mib"].as_str(), copy.exists()), ("5", true));
        let confirm = Parameters::of(serde_json::json!({"confirm": true}));
        look.etcd.door = Door::Closed;
        assert!(run(&look, &confirm).unwrap().failure.unwrap().contains("does not serve now"));
        assert!(copy.exists());
        let report = run(&with_copy(&copy), &confirm).unwrap();
        assert_eq!((report.failure, report.results["removed"].as_str()), (None, "1"));
        assert!(!copy.exists());
        assert_eq!(run(&with_copy(&copy), &confirm).unwrap().failure, None, "somebody was faster");
    }
}

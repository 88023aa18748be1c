//! What snapd was told once and keeps: its own options, and that it leaves a snap alone. Others tell it too, so it is asked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Snap, SnapError, refusal, words};

impl Snap {
    /// Holds automatic refreshes of this snap for good; explicit ones still work. snapd 2.58 and later.
    ///
    /// # Errors
    /// [`SnapError::Unsupported`] on an older snapd.
    pub async fn hold(&self) -> Result<(), SnapError> {
        self.change(["refresh", "--hold", &self.name]).await
    }

    /// Whether automatic refreshes of it are held, as the notes in `snap list` tell. A snapd before 2.58 never says so.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn is_held(&self) -> Result<bool, SnapError> {
        Ok(self.table().await?.is_some_and(|table| is_held(&self.name, &table)))
    }

    /// `snap list` of this snap alone; `None` if it is not installed.
    pub(super) async fn table(&self) -> Result<Option<String>, SnapError> {
        let output = self.command(["list", &self.name]).status().await.map_err(SnapError::Process)?;
        if output.code == Some(0) {
            return Ok(Some(output.text()));
        }
        match refusal(&self.name, words(&output)) {
            SnapError::NotInstalled { .. } => Ok(None),
            error => Err(error),
        }
    }

    /// Sets options of snapd itself, such as `refresh.timer` or `proxy.http`, all or none; an empty value unsets one.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn set_system(options: &BTreeMap<String, String>) -> Result<(), SnapError> {
        if options.is_empty() {
            return Ok(());
        }
        let pair = |(key, value): (&String, &String)| {
            if value.is_empty() { format!("{key}!") } else { format!("{key}={value}") }
        };
        let words = ["set".to_owned(), "system".to_owned()].into_iter().chain(options.iter().map(pair));
        Snap::new("system").change(words).await
    }

    /// All options of snapd itself that are set, by their full names.
    ///
    /// # Errors
    /// [`SnapError`].
    pub async fn system_options() -> Result<BTreeMap<String, String>, SnapError> {
        Snap::new("system").options().await
    }

    async fn options(&self) -> Result<BTreeMap<String, String>, SnapError> {
        let run = self.command(["get", "-d", "system"]);
        let output = run.status().await.map_err(SnapError::Process)?;
        if output.code != Some(0) {
            let words = words(&output);
            // `snap "core" has no configuration`
            return if words.contains("has no") {
                Ok(BTreeMap::new())
            } else {
                Err(refusal("system", words))
            };
        }
        let document = serde_json::from_slice(&output.stdout);
        let document = document.map_err(|error| SnapError::Unreadable {
            name: "system".to_owned(),
            detail: format!("snap get -d system: {error}"),
        })?;
        let mut options = BTreeMap::new();
        flatten("", &document, &mut options);
        Ok(options)
    }

    /// The version of the daemon that runs, such as `2.57.6`; `None` if it does not tell.
    ///
    /// # Errors
    /// `snap` cannot be run.
    pub async fn daemon_version() -> Result<Option<String>, SnapError> {
        let run = Snap::new("system").command(["version"]);
        let output = run.status().await.map_err(SnapError::Process)?.text();
        let told = |line: &str| line.strip_prefix("snapd").map(|version| version.trim().to_owned());
        Ok(output.lines().find_map(told))
    }
}

/// `{"proxy": {"http": …}}` as `proxy.http`.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                let name = if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
                flatten(&name, value, into);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(into.insert(name.to_owned(), text.clone())),
        other => drop(into.insert(name.to_owned(), other.to_string())),
    }
}

/// The notes are the last column: `held`, `disabled,held`.
fn is_held(name: &str, table: &str) -> bool {
    let row = table.lines().skip(1).find(|line| line.split_whitespace().next() == Some(name));
    let notes = row.and_then(|row| row.split_whitespace().last()).unwrap_or_default();
    notes.split(',').any(|note| note == "held")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Host;
    use super::*;

    #[tokio::test]
    async fn what_snapd_has_is_read_whatever_its_form() {
        let host = Host::new();
        let document = r#"{"proxy":{"http":"http://10.0.0.9:3128","no-proxy":"a,b"},"refresh":{"retain":3,"timer":"fri"},"seed":{"loaded":true}}"#;
        host.program(&format!("test \"$*\" = 'get -d system' && echo '{document}'"));
        let options = host.snap().options().await.unwrap();
        let told: Vec<_> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let wanted = ["proxy.http=http://10.0.0.9:3128", "proxy.no-proxy=a,b", "refresh.retain=3"];
        assert_eq!(told[..3], wanted);
        assert_eq!(told[3..], ["refresh.timer=fri", "seed.loaded=true"]);
        host.program("echo 'error: snap \"core\" has no configuration' >&2; exit 1");
        assert_eq!(host.snap().options().await.unwrap(), BTreeMap::new());
        host.program("echo 'error: cannot communicate with server: x' >&2; exit 1");
        assert!(matches!(host.snap().options().await, Err(SnapError::Busy { .. })));
    }

    #[tokio::test]
    async fn a_hold_is_seen_and_a_silent_snapd_is_not_taken_for_none() {
        let host = Host::new();
        let list = |notes: &str| {
            let row = format!("etcd  3.5.16   9    3.5/stable  canonical**  {notes}");
            host.program(&format!("echo 'Name  Version  Rev  Tracking    Publisher    Notes\n{row}'"));
        };
        for (notes, held) in [("-", false), ("held", true), ("disabled,held", true)] {
            list(notes);
            assert_eq!(host.snap().is_held().await.unwrap(), held, "{notes}");
        }
        host.program("echo 'error: no matching snaps installed' >&2; exit 1");
        assert!(!host.snap().is_held().await.unwrap());
        host.program(
            "echo 'error: cannot list snaps: cannot communicate with server: Get: dial unix' >&2; exit 1",
        );
        assert!(matches!(host.snap().is_held().await, Err(SnapError::Busy { .. })));
        assert!(matches!(host.snap().tracking().await, Err(SnapError::Busy { .. })));
    }
}

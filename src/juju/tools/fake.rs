//! Hook tools made of short shell scripts, for tests: each call is noted with its arguments and its standard input.

use std::fs;
use std::io::Write;

use tempfile::TempDir;

use super::Tools;

/// A directory of tools that note how they were called.
pub(crate) struct FakeTools(TempDir);

impl FakeTools {
    pub(crate) fn new() -> FakeTools {
        FakeTools(tempfile::tempdir().unwrap())
    }

    /// Adds a tool that runs `script` with the call's arguments.
    pub(crate) fn tool(self, name: &str, script: &str) -> FakeTools {
        let path = self.0.path().join(name);
        let calls = self.0.path().join("calls");
        // One call is one record: words parted by "|", ended by a zero byte, as words may hold line ends.
        let note = format!(
            "{{ printf %s '{name}'; for word in \"$@\"; do printf '|%s' \"$word\"; done; \
             printf '\\0'; }} >> '{}'",
            calls.display()
        );
        // Written by another process: were it written here, a test that starts a program at that very moment would
        // keep the file open for writing in its child, and Linux refuses to run such a file.
        let mut writer = std::process::Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{note}\n{script}\n");
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        self
    }

    /// Adds a tool that keeps its standard input for [`FakeTools::kept`].
    pub(in crate::juju) fn keeping_input(self, name: &str) -> FakeTools {
        let kept = self.0.path().join("kept");
        self.tool(name, &format!("cat > '{}'", kept.display()))
    }

    /// What a tool last kept.
    pub(in crate::juju) fn kept(&self) -> String {
        fs::read_to_string(self.0.path().join("kept")).unwrap()
    }

    pub(crate) fn tools(&self) -> Tools {
        Tools::with_path(self.0.path())
    }

    /// Every call so far, its words parted by `|`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.split_terminator('\0').map(ToOwned::to_owned).collect()
    }

    pub(in crate::juju) fn directory(&self) -> &std::path::Path {
        self.0.path()
    }
}

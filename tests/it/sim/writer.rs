//! A client that writes all the time, and the row that it adds to the table of a long run.

use std::cell::Cell;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::{DATA, Model, Writes, wait_until};

/// A client on a consumer's machine that writes all the time.
pub struct Writer<'a> {
    model: &'a Model,
    unit: String,
    child: Child,
}

const WRITER: &str = "/var/lib/juju/agents/unit-{tag}/charm/writer.py";
/// Acknowledged writes: fewer prove nothing. A slow machine takes longer for them.
const ENOUGH: u64 = 100;

impl<'a> Writer<'a> {
    /// Starts once the consumer has its credentials, and returns when the first write is acknowledged.
    pub fn start(model: &'a Model, unit: &str) -> Writer<'a> {
        let script = WRITER.replace("{tag}", &unit.replace('/', "-"));
        // What an earlier writer has left there would pass for this one's.
        model.shell(unit, &format!("rm -f {DATA}/stop {DATA}/acknowledged"));
        let child = model.start(&["ssh", unit, &format!("exec python3 {script} write {DATA}")]);
        let writer = Writer { model, unit: unit.to_owned(), child };
        wait_until("the first acknowledged write", Duration::from_secs(30), || {
            !model.shell(unit, &format!("cat {DATA}/acknowledged 2>/dev/null || true")).is_empty()
        });
        model.ledger.begin();
        writer
    }

    /// Stops writing and compares every acknowledged write with what etcd holds now.
    ///
    /// Fails the test when one is missing or when writes paused for longer than `gap_ms` beyond what the machine itself was
    /// held up: it is shared, and its disk may stand still for seconds.
    pub fn stop(self, gap_ms: u64) {
        let written = self.pause();
        let summary = written.summary.clone();
        written.verify();
        assert!(
            summary["unexplained-ms"].as_i64().unwrap() <= gap_ms.cast_signed(),
            "writes paused too long: {summary}"
        );
    }

    /// Stops writing; what was acknowledged is compared later, or however long the writes have paused.
    pub fn pause(self) -> Written<'a> {
        wait_until("enough acknowledged writes", Duration::from_secs(60), || {
            let lines = self.model.shell(&self.unit, &format!("wc -l < {DATA}/acknowledged"));
            lines.trim().parse::<u64>().unwrap() > ENOUGH
        });
        self.model.shell(&self.unit, &format!("touch {DATA}/stop"));
        let output = self.child.wait_with_output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Written { model: self.model, unit: self.unit, summary, is_noted: Cell::new(false) }
    }
}

/// What a writer has written.
pub struct Written<'a> {
    model: &'a Model,
    unit: String,
    summary: Value,
    /// Whether they are in the table's row: they count once, however often they are read back.
    is_noted: Cell<bool>,
}

impl Written<'_> {
    /// Fails the test when an acknowledged write is missing.
    pub fn verify(&self) {
        let script = WRITER.replace("{tag}", &self.unit.replace('/', "-"));
        let verified = self.model.shell(&self.unit, &format!("python3 {script} verify {DATA}"));
        let verified: Value = serde_json::from_str(&verified).unwrap();
        eprintln!("writer: {} {verified}", self.summary);
        let count = |from: &Value, key: &str| from[key].as_u64().unwrap();
        let acknowledged = count(&self.summary, "acknowledged");
        let lost = count(&verified, "missing-count");
        let gap_ms = Some(count(&self.summary, "worst-gap-ms"));
        if lost > 0 || !self.is_noted.replace(true) {
            self.model.ledger.note_writes(Writes { acknowledged, lost, gap_ms });
        }
        assert!(acknowledged > ENOUGH, "{}", self.summary);
        assert_eq!(verified["acknowledged"], self.summary["acknowledged"]);
        assert_eq!(lost, 0, "acknowledged writes are missing: {verified}");
    }
}

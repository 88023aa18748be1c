//! Leadership: one lease per application. Invariant: at most one unit holds it, and only one that is to stay gets it.
//!
//! A holder whose agent runs renews without a trace. When its machine goes down, or it is removed by force, the lease
//! runs out and another unit takes over. Juju's lease is 60 s; here it is [`TAKEOVER_MS`] unless the model option
//! `leadership-lease` says otherwise, so that people need not wait.

use serde::{Deserialize, Serialize};

use super::{Life, MachineState, Model};

/// How long an application stays with a leader that is gone, ms.
pub const TAKEOVER_MS: u64 = 5_000;

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The unit.
    pub holder: String,
    /// When the lease runs out, on the model's clock in ms; absent while the holder renews it.
    pub expires_ms: Option<u64>,
}

impl Model {
    /// Whether a unit's agent can renew a lease.
    fn can_renew(&self, unit: &str) -> bool {
        self.units.get(unit).is_some_and(|unit| {
            let machine = self.machines.get(&unit.machine);
            let is_up = machine.is_some_and(|machine| {
                matches!(machine.state, MachineState::Started | MachineState::Pending)
            });
            unit.life == Life::Alive && is_up
        })
    }

    /// Brings all leases up to date: starts, stops and ends their running out. Returns whether one changed.
    pub fn settle_leases(&mut self) -> bool {
        let now = self.now_ms();
        let lease_ms = self.duration_setting("leadership-lease").unwrap_or(TAKEOVER_MS);
        let names: Vec<String> = self.applications.keys().cloned().collect();
        let mut changed = false;
        for name in names {
            let lease = self.applications.get(&name).and_then(|application| application.lease.clone());
            let settled = self.settled_lease(&name, lease.clone(), now, lease_ms);
            if settled != lease {
                changed = true;
                if let Some(application) = self.applications.get_mut(&name) {
                    application.lease = settled;
                }
            }
        }
        changed
    }

    fn settled_lease(
        &self,
        application: &str,
        lease: Option<Lease>,
        now: u64,
        lease_ms: u64,
    ) -> Option<Lease> {
        if let Some(lease) = lease {
            if self.can_renew(&lease.holder) {
                return Some(Lease { expires_ms: None, ..lease });
            }
            match lease.expires_ms {
                None => return Some(Lease { expires_ms: Some(now + lease_ms), ..lease }),
                Some(at) if at > now => return Some(lease),
                Some(_) => {}
            }
        }
        let mut candidates: Vec<_> =
            self.units_of(application).filter(|unit| self.can_renew(&unit.name)).collect();
        candidates.sort_by_key(|unit| unit.number);
        candidates.first().map(|unit| Lease { holder: unit.name.clone(), expires_ms: None })
    }

    /// When the next lease runs out, on the model's clock in ms.
    pub fn next_lease_end_ms(&self) -> Option<u64> {
        self.applications.values().filter_map(|application| application.lease.as_ref()?.expires_ms).min()
    }

    /// Gives a unit's lease back at once, as a unit does that is going away.
    pub fn resign(&mut self, unit: &str) {
        let application = super::relation::application_of(unit);
        if let Some(application) = self.applications.get_mut(application)
            && application.lease.as_ref().is_some_and(|lease| lease.holder == unit)
        {
            application.lease = None;
        }
        self.settle_leases();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_lease_of_a_machine_that_is_down_runs_out_and_goes_to_the_lowest_number() {
        let mut model = testing::model(&["{name: web, peers: {ring: ring}}"]);
        let units: Vec<String> = (0..3).map(|_| testing::add_unit(&mut model, "web")).collect();
        model.settle_leases();
        assert!(model.is_leader("web/0"));
        let machine = model.units[&units[0]].machine.clone();
        model.machines.get_mut(&machine).unwrap().state = MachineState::Down;
        assert!(model.settle_leases() && model.is_leader("web/0"), "the lease still holds");
        model.clock_ahead_ms += TAKEOVER_MS + 1;
        assert!(model.settle_leases() && model.is_leader("web/1"));
        assert!(!model.settle_leases(), "nothing more to settle");
        model.end_unit("web/1", false);
        assert!(model.is_leader("web/2"), "who leaves gives the lease back at once");
    }

    #[test]
    fn a_machine_that_comes_back_in_time_keeps_the_lease() {
        let mut model = testing::model(&["{name: web}"]);
        let unit = testing::add_unit(&mut model, "web");
        testing::add_unit(&mut model, "web");
        let machine = model.units[&unit].machine.clone();
        model.machines.get_mut(&machine).unwrap().state = MachineState::Down;
        model.settle_leases();
        model.machines.get_mut(&machine).unwrap().state = MachineState::Started;
        model.settle_leases();
        model.clock_ahead_ms += TAKEOVER_MS + 1;
        model.settle_leases();
        assert!(model.is_leader(&unit));
        assert_eq!(model.next_lease_end_ms(), None);
    }
}

//! A lock that the cluster itself keeps: one key under a lease. Whoever dies with it keeps others out no longer than
//! the lease lasts. Any client can write any key: what has no lease, or names nobody who could hold the lock, is no lock.

use std::fmt;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::JoinHandle;

use super::Result;
use super::client::Client;
use super::error::Error;

/// Held until [`unlock`](Lock::unlock); kept alive in the background while this value lives and the runtime runs.
#[derive(Debug)]
pub struct Lock {
    client: Client,
    lease: i64,
    keeper: JoinHandle<()>,
}

/// What has become of an attempt to take a lock.
#[derive(Debug)]
pub enum Taken {
    /// It is held here now.
    Held(Lock),
    /// Another one has it.
    Elsewhere(Holder),
}

/// Who has a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The lock's key.
    pub key: String,
    /// What stands there.
    pub by: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds the lock {}", self.by, self.key)
    }
}

/// What stands in the lock's key.
struct Found {
    by: String,
    lease: i64,
    mod_revision: i64,
}

/// A wish to hold a lock.
struct Wish<'a> {
    name: &'a str,
    holder: &'a str,
    may_hold: &'a dyn Fn(&str) -> bool,
}

impl Wish<'_> {
    /// Whether another one has it. What merely stands in its way is written over.
    fn is_kept_out_by(&self, found: &Found) -> bool {
        found.lease != 0 && found.by != self.holder && (self.may_hold)(&found.by)
    }

    fn elsewhere(&self, by: String) -> Taken {
        Taken::Elsewhere(Holder { key: self.name.to_owned(), by })
    }
}

impl Client {
    /// Takes the lock `name` for `holder`, unless another one has it whom `may_hold` knows. The lease lasts `ttl_s`
    /// seconds beyond the last sign of life. A lock left behind under the same holder's name by a run that died is
    /// taken over, so a holder's name must be unique and its runs must not overlap (Juju's hooks do not).
    ///
    /// # Errors
    /// [`Error::NoSpace`]: a full database grants no leases. See [`Error`] for the rest.
    pub async fn try_lock(
        &self,
        name: &str,
        holder: &str,
        ttl_s: i64,
        may_hold: impl Fn(&str) -> bool,
    ) -> Result<Taken> {
        let wish = Wish { name, holder, may_hold: &may_hold };
        // Whoever waits asks often, and a lease is a write on every member.
        if let Some(found) = self.found(name).await?.filter(|found| wish.is_kept_out_by(found)) {
            return Ok(wish.elsewhere(found.by));
        }
        let granted =
            self.call("lease grant", async |mut client| client.lease_grant(ttl_s, None).await).await?;
        let lease = granted.id();
        match self.take(&wish, lease).await {
            Ok(None) => {
                let keeper = tokio::spawn(keep_alive(self.clone(), lease, interval(granted.ttl())));
                Ok(Taken::Held(Lock { client: self.clone(), lease, keeper }))
            }
            Ok(Some(found)) => {
                self.revoke(lease).await?;
                Ok(wish.elsewhere(found.by))
            }
            Err(error) => {
                // The key may have been written; without its lease it goes. If this fails too, the lease just ends.
                let _ = self.revoke(lease).await;
                Err(error)
            }
        }
    }

    /// What stands in the lock `name` now: its holder's name if it is held.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lock_holder(&self, name: &str) -> Result<Option<String>> {
        Ok(self.found(name).await?.map(|found| found.by))
    }

    async fn found(&self, name: &str) -> Result<Option<Found>> {
        let answer = self.call("get", async |mut client| client.get(name, None).await).await?;
        Ok(answer.kvs().first().map(Found::of))
    }

    /// `None`: it was taken. Otherwise what stands there.
    async fn take(&self, wish: &Wish<'_>, lease: i64) -> Result<Option<Found>> {
        let nobody = Compare::create_revision(wish.name, CompareOp::Equal, 0);
        let Some(found) = self.put_if(nobody, wish, lease).await? else { return Ok(None) };
        if wish.is_kept_out_by(&found) {
            return Ok(Some(found));
        }
        if !found.by.is_empty() && found.by != wish.holder {
            tracing::warn!(
                key = wish.name,
                value = found.by,
                "what stood in a lock's key was no lock and is replaced"
            );
        }
        let unchanged = Compare::mod_revision(wish.name, CompareOp::Equal, found.mod_revision);
        self.put_if(unchanged, wish, lease).await
    }

    /// `None`: written. Otherwise what stands there.
    async fn put_if(&self, condition: Compare, wish: &Wish<'_>, lease: i64) -> Result<Option<Found>> {
        let put = TxnOp::put(wish.name, wish.holder, Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new().when([condition]).and_then([put]).or_else([TxnOp::get(wish.name, None)]);
        let answer = self.call("lock", async |mut client| client.txn(txn).await).await?;
        if answer.succeeded() {
            return Ok(None);
        }
        let found = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(get) => get.kvs().first().map(Found::of),
            _ => None,
        });
        // Gone between two looks: somebody else's to take.
        Ok(Some(found.unwrap_or(Found { by: String::new(), lease: 0, mod_revision: 0 })))
    }

    async fn revoke(&self, lease: i64) -> Result<()> {
        self.call("lease revoke", async |mut client| client.lease_revoke(lease).await).await?;
        Ok(())
    }
}

impl Found {
    fn of(pair: &KeyValue) -> Found {
        Found {
            by: String::from_utf8_lossy(pair.value()).into_owned(),
            lease: pair.lease(),
            mod_revision: pair.mod_revision(),
        }
    }
}

impl Taken {
    /// The lock, if it is held here now.
    pub fn held(self) -> Option<Lock> {
        match self {
            Taken::Held(lock) => Some(lock),
            Taken::Elsewhere(_) => None,
        }
    }
}

impl Lock {
    /// Gives the lock back.
    ///
    /// # Errors
    /// See [`Error`]; the lease then ends by itself.
    pub async fn unlock(self) -> Result<()> {
        self.keeper.abort();
        match self.client.revoke(self.lease).await {
            // It has ended already: nothing is held.
            Err(Error::Other { message, .. }) if message.contains("requested lease not found") => Ok(()),
            outcome => outcome,
        }
    }
}

impl Drop for Lock {
    /// A lock that is forgotten is not renewed.
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Two renewals may fail before the lease is lost.
fn interval(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s / 3).unwrap_or(1).max(1))
}

/// Each renewal is a call of its own, so that it survives a restart of the server it goes to.
async fn keep_alive(client: Client, lease: i64, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let renewed =
            client.call("lease renewal", async |mut client| client.lease_keep_alive(lease).await).await;
        if let Err(error) = renewed {
            tracing::debug!(%error, "the lock's lease was not renewed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leased_value_of_somebody_who_may_hold_it_is_a_lock() {
        let may_hold = |by: &str| by.starts_with("etcd/");
        let wish = Wish { name: "lock", holder: "etcd/0", may_hold: &may_hold };
        let found = |by: &str, lease| Found { by: by.to_owned(), lease, mod_revision: 7 };
        assert!(wish.is_kept_out_by(&found("etcd/1", 5)));
        assert!(!wish.is_kept_out_by(&found("etcd/1", 0)), "it never ends");
        assert!(!wish.is_kept_out_by(&found("rolling upgrade, ask Bob", 5)));
        assert!(!wish.is_kept_out_by(&found("etcd/0", 5)), "left by a run that was killed");
        let Taken::Elsewhere(holder) = wish.elsewhere("etcd/1".to_owned()) else { panic!() };
        assert_eq!(holder.to_string(), "etcd/1 holds the lock lock");
    }

    #[test]
    fn a_lease_is_renewed_three_times_as_often_as_it_ends() {
        assert_eq!(interval(60), Duration::from_secs(20));
        assert_eq!(interval(1), Duration::from_secs(1));
    }
}

//! A lock that the cluster itself keeps: one key under a lease. Whoever dies with it keeps others out no longer than
//! the lease lasts.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
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

/// What stands in the lock's key.
struct Held {
    by: Vec<u8>,
    mod_revision: i64,
}

impl Client {
    /// Takes the lock `name` for `holder`, or yields `None` when another holder has it. The lease lasts `ttl_s`
    /// seconds beyond the last sign of life. A lock left behind under the same holder's name by a run that died is
    /// taken over, so a holder's name must be unique and its runs must not overlap (Juju's hooks do not).
    ///
    /// # Errors
    /// [`Error::NoSpace`]: a full database grants no leases. See [`Error`] for the rest.
    pub async fn try_lock(&self, name: &str, holder: &str, ttl_s: i64) -> Result<Option<Lock>> {
        // Whoever waits asks often, and a lease is a write on every member.
        if self.lock_holder(name).await?.is_some_and(|by| by != holder) {
            return Ok(None);
        }
        let granted =
            self.call("lease grant", async |mut client| client.lease_grant(ttl_s, None).await).await?;
        let lease = granted.id();
        match self.take(name, holder, lease).await {
            Ok(true) => {
                let keeper = tokio::spawn(keep_alive(self.clone(), lease, interval(granted.ttl())));
                Ok(Some(Lock { client: self.clone(), lease, keeper }))
            }
            Ok(false) => {
                self.revoke(lease).await?;
                Ok(None)
            }
            Err(error) => {
                // The key may have been written; without its lease it goes. If this fails too, the lease just ends.
                let _ = self.revoke(lease).await;
                Err(error)
            }
        }
    }

    /// Who has the lock `name` now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lock_holder(&self, name: &str) -> Result<Option<String>> {
        Ok(self.get(name.as_bytes()).await?.map(|holder| String::from_utf8_lossy(&holder).into_owned()))
    }

    async fn take(&self, name: &str, holder: &str, lease: i64) -> Result<bool> {
        let Some(held) =
            self.put_if(Compare::create_revision(name, CompareOp::Equal, 0), name, holder, lease).await?
        else {
            return Ok(true);
        };
        if held.by != holder.as_bytes() {
            return Ok(false);
        }
        let unchanged = Compare::mod_revision(name, CompareOp::Equal, held.mod_revision);
        Ok(self.put_if(unchanged, name, holder, lease).await?.is_none())
    }

    /// `None`: written. Otherwise what stands there.
    async fn put_if(&self, condition: Compare, name: &str, holder: &str, lease: i64) -> Result<Option<Held>> {
        let put = TxnOp::put(name, holder, Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new().when([condition]).and_then([put]).or_else([TxnOp::get(name, None)]);
        let answer = self.call("lock", async |mut client| client.txn(txn).await).await?;
        if answer.succeeded() {
            return Ok(None);
        }
        let found = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(get) => {
                let pair = get.kvs().first()?;
                Some(Held { by: pair.value().to_vec(), mod_revision: pair.mod_revision() })
            }
            _ => None,
        });
        // Gone between two looks: somebody else's to take.
        Ok(Some(found.unwrap_or(Held { by: Vec::new(), mod_revision: 0 })))
    }

    async fn revoke(&self, lease: i64) -> Result<()> {
        self.call("lease revoke", async |mut client| client.lease_revoke(lease).await).await?;
        Ok(())
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
    fn a_lease_is_renewed_three_times_as_often_as_it_ends() {
        assert_eq!(interval(60), Duration::from_secs(20));
        assert_eq!(interval(1), Duration::from_secs(1));
    }
}

//! One server's API. A [`Client`] talks to one endpoint only, so that an answer is always that member's own.
//!
//! Nothing here waits without a limit: neither the TLS handshake nor the HTTP/2 one has a time-out of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Certificate, ConnectOptions, GetOptions, Identity, MemberAddOptions, TlsOptions};
use tokio::sync::OnceCell;

use super::Result;
use super::error::{Asked, Error};
use super::member::{ClusterId, Member, MemberId};

/// A healthy server answers in milliseconds; an election takes one or two seconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Need not exist: reading it is what counts.
const PROBE: &str = "etcd-charm/probe";

/// What a client needs to be let in, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Trusted authorities, one or more.
    pub ca_pem: Vec<u8>,
    /// Client certificate, intermediates behind it.
    pub cert_pem: Vec<u8>,
    /// Its key.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for Credentials {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ca_pem", &String::from_utf8_lossy(&self.ca_pem))
            .field("cert_pem", &String::from_utf8_lossy(&self.cert_pem))
            .field("key_pem", &"(not shown)")
            .finish()
    }
}

/// What a cluster lets this charm's user do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Everything, as far as this is known: users and roles are off, or the user has the role `root`.
    Granted,
    /// Users and roles are on, and the user lacks it.
    Denied,
}

/// A connection to one server, made by the first call. Clones share it.
#[derive(Clone)]
pub struct Client {
    endpoint: Arc<str>,
    tls: TlsOptions,
    timeout: Duration,
    cluster: Option<ClusterId>,
    connection: Arc<OnceCell<etcd_client::Client>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// For the server at `endpoint`, a client URL `https://ADDRESS:PORT`. Reaches nobody yet. Every call is given up
    /// after 3 s unless [`with_timeout`](Client::with_timeout) says otherwise.
    ///
    /// # Errors
    /// [`Error::NotAUrl`] for anything but an `https` URL.
    pub fn connect(endpoint: &str, credentials: &Credentials) -> Result<Client> {
        if !endpoint.starts_with("https://") {
            return Err(Error::NotAUrl { url: endpoint.to_owned() });
        }
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(&credentials.ca_pem))
            .identity(Identity::from_pem(&credentials.cert_pem, &credentials.key_pem));
        Ok(Client {
            endpoint: endpoint.into(),
            tls,
            timeout: TIMEOUT,
            cluster: None,
            connection: Arc::default(),
        })
    }

    /// The same client with another limit for each call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// The same client, for which only this cluster's word counts, where one is known: an address may have changed hands.
    #[must_use]
    pub fn of_cluster(mut self, cluster: Option<ClusterId>) -> Client {
        self.cluster = cluster;
        self
    }

    /// The client URL that this client asks.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One call, bounded and with its failure told apart.
    pub(super) async fn call<T, F>(
        &self,
        call: &'static str,
        ask: impl FnOnce(etcd_client::Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        self.call_within(self.timeout, call, ask).await
    }

    pub(super) async fn call_within<T, F>(
        &self,
        limit: Duration,
        call: &'static str,
        ask: impl FnOnce(etcd_client::Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let started = Instant::now();
        let asked = async {
            let client = self.connection.get_or_try_init(|| self.open()).await?;
            ask(client.clone()).await.map_err(|error| {
                Error::of(error, Asked { call, endpoint: &self.endpoint, waited: started.elapsed() })
            })
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(Error::timed_out(call, limit)))
    }

    /// Prepares the connection; the library opens it with the first request, so only the credentials can be wrong.
    async fn open(&self) -> Result<etcd_client::Client> {
        let options = ConnectOptions::new().with_tls(self.tls.clone()).with_connect_timeout(self.timeout);
        etcd_client::Client::connect([&*self.endpoint], Some(options)).await.map_err(|error| match error {
            etcd_client::Error::TransportError(cause) => {
                let source =
                    std::error::Error::source(&cause).map_or_else(|| cause.to_string(), ToString::to_string);
                Error::BadCredentials { cause: source }
            }
            _ => Error::NotAUrl { url: self.endpoint.to_string() },
        })
    }

    /// The member list as this server knows it: it is answered without quorum and may be old. Ask
    /// [`confirm_quorum`](Client::confirm_quorum) on the same client before relying on it.
    ///
    /// # Errors
    /// [`Error::LearnerCannotServe`] from a learner, [`Error::AnotherCluster`]; see [`Error`] for the rest.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let answer = self.call("member list", async |mut client| client.member_list().await).await?;
        self.check_cluster(answer.header())?;
        Ok(answer.members().iter().map(member).collect())
    }

    /// Proves that this member reaches a raft leader with a quorum behind it, within this call, by a linearizable
    /// read. Yields the KV revision.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::NoLeader`] without quorum, [`Error::AnotherCluster`]; see [`Error`] for the rest.
    pub async fn confirm_quorum(&self) -> Result<i64> {
        let answer =
            self.call("a linearizable read", async |mut client| client.get(PROBE, None).await).await?;
        self.check_cluster(answer.header())?;
        Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// The same, for a client that need not be let in: etcd makes sure of its quorum before it looks at the user's rights (so
    /// it is in 3.4 to 3.7), and a refusal proves as much as an answer.
    ///
    /// # Errors
    /// Those of [`confirm_quorum`](Client::confirm_quorum) but [`Error::Denied`].
    pub async fn prove_quorum(&self) -> Result<Permission> {
        match self.confirm_quorum().await {
            Ok(_) => Ok(Permission::Granted),
            Err(Error::Denied) => {
                // A refusal does not say whose it is.
                if self.cluster.is_some() {
                    self.members().await?;
                }
                Ok(Permission::Denied)
            }
            Err(error) => Err(error),
        }
    }

    /// An answer without a header is nobody's.
    fn check_cluster(&self, header: Option<&etcd_client::ResponseHeader>) -> Result<()> {
        let found = header.map(|header| ClusterId(header.cluster_id()));
        match self.cluster {
            Some(wanted) if found != Some(wanted) => Err(Error::AnotherCluster {
                endpoint: self.endpoint.to_string(),
                found: found.map_or_else(|| "none".to_owned(), |found| found.to_string()),
                wanted: wanted.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Adds a member that does not vote yet. Yields its identifier and all members, itself included.
    ///
    /// # Errors
    /// [`Error::TooManyLearners`], [`Error::UnhealthyCluster`], [`Error::PeerUrlExists`], [`Error::MemberIdExists`],
    /// [`Error::MemberNotFound`] (the same URL was removed within this second); see [`Error`] for the rest.
    pub async fn add_learner(&self, peer_url: &str) -> Result<(MemberId, Vec<Member>)> {
        check_url(peer_url)?;
        let urls = vec![peer_url.to_owned()];
        let options = MemberAddOptions::new().with_is_learner();
        let answer =
            self.call("member add", async |mut client| client.member_add(urls, Some(options)).await).await?;
        let id = answer.member().map(|added| MemberId(added.id())).ok_or(Error::MemberNotFound)?;
        Ok((id, answer.member_list().iter().map(member).collect()))
    }

    /// Makes a learner a voter. A follower forwards this to the raft leader; a learner refuses it.
    ///
    /// # Errors
    /// [`Error::NotInSync`], [`Error::NotALearner`], [`Error::MemberNotFound`]; see [`Error`] for the rest.
    pub async fn promote(&self, member: MemberId) -> Result<()> {
        self.call("member promote", async |mut client| client.member_promote(member.0).await).await?;
        Ok(())
    }

    /// Takes a member out of the cluster; its server then ends by itself. The server that is asked judges by its own
    /// connections whether a quorum stays.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`], [`Error::UnhealthyCluster`], [`Error::NotEnoughStarted`]; see [`Error`] for the rest.
    pub async fn remove(&self, member: MemberId) -> Result<()> {
        self.call("member remove", async |mut client| client.member_remove(member.0).await).await?;
        Ok(())
    }

    /// Tells all members that `member` is reached elsewhere. Works for a member that is down. Never for a learner:
    /// versions before 3.5.31 and 3.6.12 turn it into something that can no longer be promoted.
    ///
    /// # Errors
    /// [`Error::NotAUrl`], [`Error::MemberNotFound`], [`Error::PeerUrlExists`]; see [`Error`] for the rest.
    pub async fn update_peer_urls(&self, member: MemberId, peer_urls: &[String]) -> Result<()> {
        peer_urls.iter().try_for_each(|url| check_url(url))?;
        if peer_urls.is_empty() {
            return Err(Error::NotAUrl { url: String::new() });
        }
        let urls = peer_urls.to_vec();
        self.call("member update", async |mut client| client.member_update(member.0, urls).await).await?;
        Ok(())
    }

    /// Writes one key. After [`Error::TimedOut`] the write may or may not have happened. Yields the KV revision.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Corrupt`]; see [`Error`] for the rest.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<i64> {
        let answer = self.call("put", async |mut client| client.put(key, value, None).await).await?;
        Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// Reads one key, linearizably.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let answer = self.call("get", async |mut client| client.get(key, None).await).await?;
        Ok(answer.kvs().first().map(|pair| pair.value().to_vec()))
    }

    /// How many keys there were at `revision`, by this member's own data: it is answered without quorum.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`]; see [`Error`] for the rest.
    pub async fn count_keys(&self, revision: i64) -> Result<i64> {
        let all = GetOptions::new().with_all_keys().with_count_only().with_serializable();
        let options = all.with_revision(revision);
        let answer = self.call("count", async |mut client| client.get("", Some(options)).await).await?;
        Ok(answer.count())
    }

    /// Deletes one key. Yields whether it was there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        let answer = self.call("delete", async |mut client| client.delete(key, None).await).await?;
        Ok(answer.deleted() > 0)
    }
}

fn member(raw: &etcd_client::Member) -> Member {
    Member {
        id: MemberId(raw.id()),
        name: raw.name().to_owned(),
        peer_urls: raw.peer_urls().to_vec(),
        client_urls: raw.client_urls().to_vec(),
        learner: raw.is_learner(),
    }
}

/// The library would put `http://` before anything without a scheme.
fn check_url(url: &str) -> Result<()> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(()),
        _ => Err(Error::NotAUrl { url: url.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials { ca_pem: b"ca".to_vec(), cert_pem: b"cert".to_vec(), key_pem: b"secret words".to_vec() }
    }

    #[test]
    fn a_key_is_never_shown() {
        let shown = format!("{:?}", credentials());
        assert!(shown.contains("cert") && !shown.contains("secret"), "{shown}");
        let client = Client::connect("https://127.0.0.1:1", &credentials()).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn only_https_is_asked() {
        for url in ["http://127.0.0.1:2379", "127.0.0.1:2379", ""] {
            assert!(matches!(Client::connect(url, &credentials()), Err(Error::NotAUrl { .. })), "{url:?}");
        }
    }

    #[test]
    fn a_url_without_scheme_is_refused() {
        for url in ["10.0.0.1:2380", "https://", ""] {
            assert!(check_url(url).is_err(), "{url:?}");
        }
        assert!(check_url("https://10.0.0.1:2380").is_ok());
    }

    #[tokio::test]
    async fn broken_credentials_are_told_before_anyone_is_reached() {
        let client = Client::connect("https://127.0.0.1:1", &credentials()).unwrap();
        let error = client.confirm_quorum().await.unwrap_err();
        assert!(matches!(error, Error::BadCredentials { .. }), "{error:?}");
    }
}

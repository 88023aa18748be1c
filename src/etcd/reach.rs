//! Finding a member that works among several endpoints.

use std::time::Duration;

use tokio::task::JoinSet;

use super::Result;
use super::client::{Client, Credentials};
use super::error::Error;
use super::member::ClusterId;

/// A member that needs longer for one read is not the one to ask.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client for the first endpoint that confirms a quorum. All are asked at once, each for 2 s. Only voters can
/// confirm: a learner refuses the read. Where a cluster is known, only its word counts. What this client may do there is not
/// looked at.
///
/// # Errors
/// [`Error::NobodyServes`] with each endpoint's cause, in the order given.
pub async fn reach(
    endpoints: &[String],
    credentials: &Credentials,
    cluster: Option<ClusterId>,
) -> Result<Client> {
    let mut distinct: Vec<&String> = Vec::new();
    for endpoint in endpoints {
        if !distinct.contains(&endpoint) {
            distinct.push(endpoint);
        }
    }
    let mut causes = vec![String::new(); distinct.len()];
    let mut probes = JoinSet::new();
    for (place, endpoint) in distinct.iter().enumerate() {
        match Client::connect(endpoint, credentials) {
            Ok(client) => {
                let client = client.of_cluster(cluster);
                probes.spawn(async move {
                    let confirmed = client.clone().with_timeout(PATIENCE).prove_quorum().await;
                    (place, confirmed.map(|_| client))
                });
            }
            Err(error) => causes[place] = format!("{endpoint}: {error}"),
        }
    }
    while let Some(probe) = probes.join_next().await {
        match probe {
            Ok((_, Ok(client))) => return Ok(client),
            Ok((place, Err(error))) => causes[place] = format!("{}: {error}", distinct[place]),
            // A probe that died tells nothing; the others go on.
            Err(_) => {}
        }
    }
    Err(Error::NobodyServes { causes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_known_is_told_as_such() {
        let credentials = Credentials { ca_pem: vec![], cert_pem: vec![], key_pem: vec![] };
        let error = reach(&[], &credentials, None).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot reach a working member: none is known");
        assert!(error.is_retryable());
    }
}

//! The application's own certificate authority at work: making it, finding its key, keeping its key, signing.
//!
//! The key is in memory for the moment of a signature only. Between hooks it is in a secret that the application owns,
//! on Juju 2.9 in the application's peer databag, and in the leader's draft until Juju has taken it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::clock;
use crate::juju::{SecretOwner, Tools};
use crate::relations::authority::{Draft, KEY, SHARED_NAME};
use crate::relations::certificates::Pair;
use crate::tls::{self, Authority, Request, Validity};
use crate::world::World;

/// The secret's label. Its content: the certificate and the key.
const LABEL: &str = "certificate-authority";
const SECRET_CERTIFICATE: &str = "certificate";
const SECRET_KEY: &str = "key";
const DAY_S: i64 = 86_400;
/// Renewed after two thirds of it.
const AUTHORITY_DAYS: i64 = 3650;
/// Renewed after two thirds of it.
const LEAF_DAYS: i64 = 365;
/// Machines' clocks differ.
const BEFORE_S: i64 = 3600;

fn validity(days: i64) -> Validity {
    let now_s = i64::try_from(clock::now_s()).unwrap_or(i64::MAX - AUTHORITY_DAYS * DAY_S);
    Validity { not_before_s: now_s - BEFORE_S, not_after_s: now_s + days * DAY_S }
}

/// A new authority with its client pair. `application` and a random part name it, so that two of them in one trust
/// store are never mixed up.
pub(crate) fn make(application: &str) -> Result<Draft> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let name: String = format!("{} CA {}", application.chars().take(40).collect::<String>(), &id[..8]);
    let authority =
        Authority::create(&name, validity(AUTHORITY_DAYS)).context("cannot make a certificate authority")?;
    let client = client_pair(&authority, SHARED_NAME)?;
    Ok(Draft { certificate: authority.certificate_pem, key: authority.key_pem, client })
}

/// A new client pair with this common name.
pub(crate) fn client_pair(authority: &Authority, name: &str) -> Result<Pair> {
    let request = Request::new(name, &[]).context("cannot ask for a client certificate")?;
    let certificate = authority
        .sign_client(&request.csr_pem, name, validity(LEAF_DAYS))
        .context("cannot sign the client certificate")?;
    Ok(Pair { certificate, key: request.key_pem })
}

/// A certificate for the unit that asks for it, with the names it asks for: only a unit itself can write its request.
pub(crate) fn member(authority: &Authority, request: &str) -> Result<String> {
    let asked = tls::asked(request).context("cannot read a unit's signing request")?;
    authority
        .sign_member(request, &asked.common_name, &asked.sans, validity(LEAF_DAYS))
        .context("cannot sign a unit's certificate")
}

/// The authority with its key, for a leader that has something to sign.
///
/// # Errors
/// The key cannot be read, or is not the one of the authority that the units know.
pub(crate) async fn at_hand(world: &World, tools: &Tools) -> Result<Authority> {
    let record = &world.peers.authority;
    if let Some(draft) = &world.host.draft
        && record.is_replaced_by(draft, world.now_s)
    {
        return Ok(draft.authority());
    }
    let certificate = record.certificate.as_ref().context("cannot sign without an authority")?;
    let key = match world.peers.application.get(KEY) {
        Some(key) => key.clone(),
        None if world.juju.has_secrets() => {
            let secret = tools.secret_get(LABEL).await.context("cannot read the authority's secret")?;
            let key = secret.and_then(|mut content| content.remove(SECRET_KEY));
            key.with_context(|| format!("cannot find the secret {LABEL:?} with the authority's key"))?
        }
        None => bail!("cannot find the authority's key in the application's databag"),
    };
    Authority::from_pem(certificate, &key).context("cannot sign with the key that is kept")
}

/// Gives the key to Juju. Where it has secrets, the databag holds none: the answer is what to write there.
///
/// # Errors
/// The secret cannot be written.
pub(crate) async fn keep(authority: &Authority, world: &World, tools: &Tools) -> Result<Option<String>> {
    if !world.juju.has_secrets() {
        return Ok(Some(authority.key_pem.clone()));
    }
    let content = BTreeMap::from([
        (SECRET_CERTIFICATE.to_owned(), authority.certificate_pem.clone()),
        (SECRET_KEY.to_owned(), authority.key_pem.clone()),
    ]);
    match tools.secret_info(LABEL).await.context("cannot look for the authority's secret")? {
        Some(secret) => tools.secret_set(&format!("secret:{}", secret.id), &content).await,
        None => tools.secret_add(LABEL, SecretOwner::Application, &content).await.map(drop),
    }
    .context("cannot write the authority's secret")?;
    Ok(None)
}

/// Takes the key away from Juju, with the authority that nobody trusts any more.
///
/// # Errors
/// The secret cannot be removed.
pub(crate) async fn forget(world: &World, tools: &Tools) -> Result<()> {
    if !world.juju.has_secrets() {
        return Ok(());
    }
    if let Some(secret) = tools.secret_info(LABEL).await.context("cannot look for the authority's secret")? {
        let id = format!("secret:{}", secret.id);
        tools.secret_remove(&id, None).await.context("cannot remove the authority's secret")?;
    }
    Ok(())
}

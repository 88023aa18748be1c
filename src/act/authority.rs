//! This unit's own key and request, and the authority that a leader makes. Each is one private file, replaced whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::clock;
use crate::decide::COMMON;
use crate::host::{self, files, record};
use crate::issuing;
use crate::juju::Tools;
use crate::relations::authority::{Client, ClientRequest, OwnRequest};
use crate::tls::Request;
use crate::world::World;

pub(super) fn make_request(common_name: &str, sans: &[String], world: &World) -> Result<()> {
    let made = Request::new(common_name, sans).context("cannot make a signing request")?;
    let own = OwnRequest {
        key: made.key_pem,
        request: made.csr_pem,
        certificate: None,
        made_s: clock::now_s(),
        client: world.host.request.as_ref().and_then(|own| own.client.clone()),
        consumers: world.host.request.as_ref().map(|own| own.consumers.clone()).unwrap_or_default(),
    };
    save(host::OWN_REQUEST, &own)
}

pub(super) fn renew_client_requests(
    make: &BTreeMap<Client, String>,
    forget: &BTreeSet<String>,
    world: &World,
) -> Result<()> {
    let own = world.host.request.as_ref().context("cannot ask for a client before this unit has asked")?;
    let mut own = own.clone();
    own.consumers.retain(|tag, _| !forget.contains(tag));
    for (whose, name) in make {
        let made = Request::new(name, &[]).context("cannot make a signing request")?;
        let request = ClientRequest { key: made.key_pem, request: made.csr_pem, made_s: clock::now_s() };
        own.set_client(whose, request);
    }
    save(host::OWN_REQUEST, &own)
}

pub(super) fn make_authority(world: &World) -> Result<()> {
    save(host::DRAFT, &issuing::make(world.unit.application())?)
}

pub(super) fn forget_draft() -> Result<()> {
    files::remove_if_exists(format!("{COMMON}/{}", host::DRAFT))
        .context("cannot remove the authority's draft")
}

/// The leader's own certificate: it needs no answer from anyone.
pub(super) async fn sign_own(world: &World, tools: &Tools) -> Result<()> {
    let own = world.host.request.as_ref().context("cannot sign without a request")?;
    let authority = issuing::at_hand(world, tools).await?;
    let certificate = Some(issuing::member(&authority, &own.request)?);
    save(host::OWN_REQUEST, &OwnRequest { certificate, ..own.clone() })
}

fn save(name: &str, content: &impl Serialize) -> Result<()> {
    let path = format!("{COMMON}/{name}");
    files::make_dir(COMMON, 0o755).with_context(|| format!("cannot make {COMMON}"))?;
    record::write(&path, content)
}

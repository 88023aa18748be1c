//! This unit's own key and request, and the authority that a leader makes. Each is one private file, replaced whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use crate::clock;
use crate::issuing;
use crate::juju::Tools;
use crate::relations::authority::{Client, ClientRequest, OwnRequest};
use crate::state::StateFile;
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
    StateFile::OwnRequest.write_record(&own)
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
    StateFile::OwnRequest.write_record(&own)
}

pub(super) fn make_authority(world: &World) -> Result<()> {
    StateFile::Draft.write_record(&issuing::make(world.unit.application())?)
}

pub(super) fn forget_draft() -> Result<()> {
    StateFile::Draft.remove()
}

/// The leader's own certificate: it needs no answer from anyone.
pub(super) async fn sign_own(world: &World, tools: &Tools) -> Result<()> {
    let own = world.host.request.as_ref().context("cannot sign without a request")?;
    let authority = issuing::at_hand(world, tools).await?;
    let certificate = Some(issuing::member(&authority, &own.request)?);
    StateFile::OwnRequest.write_record(&OwnRequest { certificate, ..own.clone() })
}

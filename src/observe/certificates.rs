//! What certificates this unit has been given, by the related authority or by its own application, checked before
//! anything relies on them.

use std::collections::BTreeMap;

use super::juju::Facts;
use crate::options::CertificateAuthority;
use crate::relations::authority::{AuthorityRecord, Client, Draft};
use crate::relations::certificates::{Answer, Pair, Request};
use crate::relations::csr::Answers;
use crate::relations::shared_client::SharedClient;
use crate::tls;
use crate::world::{Answered, Authority, Credentials, Host, Leadership, Standing};

/// The authority as this unit sees it now; its own files count too.
pub(super) fn authority(facts: &Facts, host: &Host, now_s: u64) -> Authority {
    let kind = match &facts.options {
        Ok(options) => options.certificate_authority,
        Err(_) => in_use(&facts.peers.authority, host.credentials.as_ref(), facts.authority.is_some()),
    };
    let answer = match (kind, &facts.signed) {
        (CertificateAuthority::Internal, _) => Ok(internal_answer(facts, host, now_s)),
        (CertificateAuthority::Relation, Answers::Unreadable(why)) => Err(why.clone()),
        (CertificateAuthority::Relation, signed) => Ok(related_answer(signed, facts, host, now_s)),
    };
    Authority {
        kind,
        relation: facts.authority.clone(),
        published: facts.requested.clone(),
        answer: match answer {
            Ok(answer) => answered(answer, facts.request.as_ref(), now_s),
            Err(why) => Answered::Refused(why),
        },
        signed: facts.signed.clone(),
        clients: facts.answer.clients.clone(),
        request: facts.request.clone(),
    }
}

/// Who goes on signing under options that cannot be read: wrong options change nothing. An authority of the application's
/// own that was left for a related one still stands in its record.
fn in_use(
    record: &AuthorityRecord,
    credentials: Option<&Credentials>,
    is_related: bool,
) -> CertificateAuthority {
    let is_internal = match credentials {
        Some(credentials) => record.is_issuer_of(&credentials.server_certificate),
        None => record.certificate.is_some() && !is_related,
    };
    if is_internal { CertificateAuthority::Internal } else { CertificateAuthority::Relation }
}

/// What the related authority has answered, in whichever protocol it answers in full.
fn related_answer(signed: &Answers, facts: &Facts, host: &Host, now_s: u64) -> Answer {
    let own = host.request.as_ref();
    let server = own.and_then(|own| Some((own, signed.to(&own.request)?)));
    let leads = facts.leadership == Leadership::Leader;
    let client = SharedClient::new(&Client::Shared, &facts.peers.authority, own, signed, leads, now_s);
    let newer = Answer {
        ca: server.map(|(_, signed)| signed.ca.clone()),
        server: server
            .map(|(own, signed)| Pair { certificate: signed.certificate.clone(), key: own.key.clone() }),
        client: client.pair(),
        clients: BTreeMap::new(),
    };
    let is_complete = |answer: &Answer| answer.server.is_some() && answer.client.is_some();
    if is_complete(&newer) || (*signed != Answers::Silent && !is_complete(&facts.answer)) {
        return newer;
    }
    facts.answer.clone()
}

/// What the application's own authority has signed for this unit's key.
fn internal_answer(facts: &Facts, host: &Host, now_s: u64) -> Answer {
    let draft: Option<&Draft> = host.draft.as_ref().filter(|_| facts.leadership == Leadership::Leader);
    let record = facts.peers.authority.with(draft, now_s);
    let server = host.request.as_ref().and_then(|own| {
        let signed_here = own.certificate.as_ref().filter(|pem| record.has_signed(pem, &own.request));
        let certificate = signed_here.or_else(|| record.certificate_for(&facts.unit.tag(), &own.request));
        Some(Pair { certificate: certificate?.clone(), key: own.key.clone() })
    });
    Answer { ca: record.certificate, server, client: record.client, ..Answer::default() }
}

/// What the certificates on this machine stand for; `None` when they are no certificates.
pub(super) fn standing(credentials: &Credentials) -> Option<Standing> {
    Standing::read(&credentials.ca, &[&credentials.server_certificate, &credentials.client_certificate])
}

/// Checks an answer before anything relies on it.
fn answered(answer: Answer, request: Option<&Request>, now_s: u64) -> Answered {
    let Some(ca) = answer.ca else { return Answered::Incomplete("the CA certificate") };
    let Some(server) = answer.server else { return Answered::Incomplete("the server certificate") };
    let Some(client) = answer.client else { return Answered::Incomplete("the client certificate") };
    let wanted: Vec<String> =
        request.map(|request| request.sans.iter().cloned().collect()).unwrap_or_default();
    let why_not_usable = |what: &str, pair: &Pair, wanted_sans: &[String]| {
        let reason = tls::why_not_usable(&pair.certificate, &pair.key, &ca, wanted_sans, now_s)?;
        Some(format!("{what}: {reason}"))
    };
    let refused = why_not_usable("server certificate", &server, &wanted)
        .or_else(|| why_not_usable("client certificate", &client, &[]));
    match refused {
        Some(why) => Answered::Refused(why),
        None => Answered::Usable(Credentials {
            ca,
            server_certificate: server.certificate,
            server_key: server.key,
            client_certificate: client.certificate,
            client_key: client.key,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Authority, Request, Validity};

    #[test]
    fn under_wrong_options_the_authority_in_use_goes_on() {
        let validity = Validity { not_before_s: 2_000_000_000, not_after_s: 2_000_086_400 };
        let signed_by = |authority: &Authority| {
            let asked = Request::new("etcd-0", &[]).unwrap();
            let pem = authority.sign_member(&asked.csr_pem, "etcd-0", &[], validity).unwrap();
            Credentials {
                ca: authority.certificate_pem.clone(),
                server_certificate: pem.clone(),
                server_key: asked.key_pem.clone(),
                client_certificate: pem,
                client_key: asked.key_pem,
            }
        };
        let own = Authority::create("own", validity).unwrap();
        let related = Authority::create("related", validity).unwrap();
        let record =
            AuthorityRecord { certificate: Some(own.certificate_pem.clone()), ..AuthorityRecord::default() };
        let kind = |credentials: Option<&Credentials>, is_related| in_use(&record, credentials, is_related);
        assert_eq!(kind(Some(&signed_by(&own)), true), CertificateAuthority::Internal);
        assert_eq!(kind(Some(&signed_by(&related)), true), CertificateAuthority::Relation, "it was left");
        assert_eq!(kind(None, false), CertificateAuthority::Internal);
        assert_eq!(kind(None, true), CertificateAuthority::Relation);
        let none = AuthorityRecord::default();
        assert_eq!(in_use(&none, Some(&signed_by(&own)), false), CertificateAuthority::Relation);
    }
}

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
        refusals: facts.refusals.clone(),
        clients: older_answer(&facts.answers, facts.request.as_ref(), now_s).clients,
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
    let older = older_answer(&facts.answers, facts.request.as_ref(), now_s);
    if newer.is_complete() || (*signed != Answers::Silent && !older.is_complete()) {
        return newer;
    }
    older
}

/// Of the answers that can be used the one that lasts longest: a unit of the authority that leads no more may have left an
/// older one. Otherwise the last, which is all of them together. Client pairs that only another unit has made count too.
fn older_answer(all: &[Answer], request: Option<&Request>, now_s: u64) -> Answer {
    let Some((together, each)) = all.split_last() else { return Answer::default() };
    let lasts_s = |answer: &Answer| match answered(answer.clone(), request, now_s) {
        Answered::Usable(credentials) => standing(&credentials).map(|standing| standing.not_after_s),
        Answered::Nothing | Answered::Incomplete(_) | Answered::Refused(_) => None,
    };
    let usable = each.iter().filter_map(|answer| Some((lasts_s(answer)?, answer)));
    let Some((_, best)) = usable.max_by_key(|(lasts_s, _)| *lasts_s) else { return together.clone() };
    let mut clients = together.clients.clone();
    clients.extend(best.clients.clone());
    Answer { clients, ..best.clone() }
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
    // The others' parts come for all units alike.
    let Some(server) = answer.server else { return Answered::Nothing };
    let Some(ca) = answer.ca else { return Answered::Incomplete("the CA certificate") };
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

    #[test]
    fn an_older_answer_of_a_unit_that_leads_no_more_does_not_win() {
        let life =
            |days: i64| Validity { not_before_s: 2_000_000_000, not_after_s: 2_000_000_000 + days * 86_400 };
        let authority = Authority::create("easyrsa", life(1000)).unwrap();
        let other = Authority::create("another", life(1000)).unwrap();
        let pair = |authority: &Authority, addresses: &[String], days: i64| {
            let asked = Request::new("etcd-0", addresses).unwrap();
            let certificate = authority.sign_member(&asked.csr_pem, "etcd-0", addresses, life(days)).unwrap();
            Pair { certificate, key: asked.key_pem }
        };
        let answer = |authority: &Authority, address: &str, days: i64| Answer {
            ca: Some(authority.certificate_pem.clone()),
            server: Some(pair(authority, &[address.to_owned()], days)),
            client: Some(pair(authority, &[], days)),
            clients: [("shared".to_owned(), pair(authority, &[], days))].into(),
        };
        let (old, new) = (answer(&authority, "10.0.0.9", 10), answer(&authority, "10.0.0.1", 20));
        let mixed = Answer { ca: Some(other.certificate_pem.clone()), ..new.clone() };
        let asked = crate::relations::certificates::Request {
            common_name: "etcd-0".to_owned(),
            sans: ["10.0.0.1".to_owned()].into(),
            tag: "etcd_0".to_owned(),
        };
        let best = |all: &[Answer]| older_answer(all, Some(&asked), 2_000_000_100);
        assert_eq!(
            best(&[new.clone(), old.clone(), old.clone()]),
            new,
            "the other one names another address"
        );
        assert_eq!(best(&[old.clone(), new.clone(), mixed.clone()]), new);
        let renewed = answer(&authority, "10.0.0.1", 30);
        assert_eq!(best(&[renewed.clone(), new.clone(), new.clone()]), renewed);
        assert_eq!(best(&[old.clone(), mixed.clone()]), mixed, "none can be used: the status says why");
        assert_eq!(best(&[]), Answer::default());
    }
}

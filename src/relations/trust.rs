//! Which certificate authorities each unit trusts and still needs, in its peer databag. From these alone every unit sees
//! how far a change of the authority has come, whoever leads and whatever died on the way.

use super::Changes;
use crate::juju::Databag;
use crate::tls::Bundle;

const TRUSTED: &str = "trusted-ca";
const NEEDED: &str = "needed-ca";

/// What one unit says of its trust. Absent until it has certificates, and from units of an earlier charm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitTrust {
    /// What its running server trusts; when nothing runs, what it will trust once started.
    pub trusted: Option<Bundle>,
    /// The issuers of its certificates, and of those it wants to change to: all others must trust them.
    pub needed: Option<Bundle>,
}

impl UnitTrust {
    /// From a unit's databag. What cannot be read counts as not said: nothing is dropped for it, nothing moves.
    pub fn read(bag: &Databag) -> UnitTrust {
        let bundle = |key: &str| bag.get(key).and_then(|pem| Bundle::parse(pem).ok());
        UnitTrust { trusted: bundle(TRUSTED), needed: bundle(NEEDED) }
    }

    /// To this unit's databag. What is not known is left as it stands there.
    pub fn write(&self) -> Changes {
        let pem = |bundle: &Bundle| Some(bundle.to_pem()).filter(|pem| !pem.is_empty());
        let trusted = self.trusted.as_ref().and_then(pem).map(|pem| (TRUSTED.to_owned(), Some(pem)));
        let needed = self.needed.as_ref().and_then(pem).map(|pem| (NEEDED.to_owned(), Some(pem)));
        trusted.into_iter().chain(needed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_unit_says_survives_the_databag() {
        let one = Bundle::parse(include_str!("../tls/fixtures/rsa.crt")).unwrap();
        let both = one.union(&Bundle::parse(include_str!("../tls/fixtures/ecdsa.crt")).unwrap());
        let said = UnitTrust { trusted: Some(both), needed: Some(one) };
        let bag: Databag = said.write().into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        assert_eq!(UnitTrust::read(&bag), said);
        assert_eq!(UnitTrust::default().write(), Changes::new(), "nothing known deletes nothing");
        let odd = Databag::from([(TRUSTED.to_owned(), "nonsense".to_owned())]);
        assert_eq!(UnitTrust::read(&odd), UnitTrust::default());
    }
}

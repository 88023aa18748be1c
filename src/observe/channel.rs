//! The channel that the snap follows. Only asked where the answer could matter: `snap` talks to its daemon, and the store is
//! asked once a run.

use super::Facts;
use crate::decide;
use crate::etcd::Channel;
use crate::host::{Installed, Offer, Snap};
use crate::options::WantedChannel;
use crate::world::{Door, Etcd, Following, Host, Reading, is_followed};

pub(super) async fn following(facts: &Facts, host: &Host, etcd: &Etcd) -> Following {
    let votes = matches!(&etcd.door, Door::Open(status) if !status.learner);
    let from_store = matches!(&host.snap, Reading::Known(Some(snap)) if !snap.is_from_file());
    let (true, true, Ok(options)) = (votes, from_store, &facts.options) else { return Following::Unasked };
    let WantedChannel::Named(channel) = &options.channel else { return Following::Unasked };
    match Snap::new("etcd").tracking().await {
        Ok(Some(tracked)) if !is_followed(channel, &tracked) => {
            Following::Another { offer: facts.offer.get_or_init(|| offer(channel)).await.clone() }
        }
        Ok(_) if decide::rollout(&facts.peers, host, channel).is_some() => {
            let offer = facts.offer.get_or_init(|| offer(channel)).await.clone();
            let has = |snap: &Installed| matches!(&offer, Some(Reading::Known(offer)) if offer.revision == snap.revision);
            // The store has gone back to what is here.
            if matches!(&host.snap, Reading::Known(Some(snap)) if has(snap)) {
                return Following::Named;
            }
            Following::Another { offer }
        }
        Ok(_) => Following::Named,
        Err(error) if error.passes() => Following::Busy(error.to_string()),
        Err(error) => Following::Unknown(error.to_string()),
    }
}

/// What the store has in the channel now; nothing of a branch, of which it does not tell.
pub async fn offer(channel: &Channel) -> Option<Reading<Offer>> {
    if channel.branch.is_some() {
        return None;
    }
    let offer = Snap::new("etcd").offer(&channel.track.to_string(), &channel.risk.to_string()).await;
    Some(offer.map_or_else(|error| Reading::Unknown(error.to_string()), Reading::Known))
}

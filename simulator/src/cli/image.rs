//! `image`: what full machines boot from.

use anyhow::Result;
use clap::Args;

use super::output::remark;

#[derive(Debug, Args)]
#[command(after_help = "\
Full machines (deploy --machines full) have systemd and snapd of their own. Their image is made from the packages of
this computer's distribution, in about 4 minutes, and kept in $JUJU_SIM_IMAGE (or `image` below $JUJU_SIM_HOME). Where it
is up to date, nothing is done. Needs root, debootstrap, systemd-nspawn and mksquashfs.

Example:
  juju-sim image")]
pub(super) struct MakeImage {}

impl MakeImage {
    pub async fn run(self) -> Result<u8> {
        let options = super::machine_options()?;
        if options.image.check().is_err() {
            options.image.make(&options).await?;
        }
        remark(&format!("The image of full machines is in {}", options.image.root().display()))?;
        Ok(0)
    }
}

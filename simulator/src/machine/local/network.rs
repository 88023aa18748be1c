//! The network of a model: a switch (bridge) in the holder's network namespace, and one wire to each machine.
//! Invariant: the host's own network namespace is never changed.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use super::subnet::Subnet;
use crate::machine::Sending;

/// Name of the bridge.
pub const SWITCH: &str = "switch";

/// The routing rule that loses what a machine sends: before all others but the one for its own addresses.
const LOST: &str = "pref 100";

/// Run `ip` commands, one a line, in the network namespace of the calling thread.
pub fn ip(commands: &str) -> Result<()> {
    run_ip(Command::new("ip"), commands)
}

/// The same in the network namespace of another process.
pub fn ip_in(pid: u32, commands: &str) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "--", "ip"]);
    run_ip(command, commands)
}

fn run_ip(mut command: Command, commands: &str) -> Result<()> {
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip: install iproute2")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes()).context("cannot talk to ip")?;
    }
    let output = child.wait_with_output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("cannot set up the network: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Make the switch in the calling thread's network namespace.
pub fn make_switch() -> Result<()> {
    ip(&format!("link set lo up\nlink add {SWITCH} type bridge\nlink set {SWITCH} up\n"))?;
    for family in ["iptables", "ip6tables", "arptables"] {
        // Where the kernel has no bridge filter there is nothing to switch off.
        drop(std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), "0"));
    }
    Ok(())
}

/// How a machine is wired.
#[derive(Debug, Clone, Copy)]
pub struct Wire<'a> {
    /// Name of the end at the switch.
    pub port: &'a str,
    /// Number the machine's hardware address is made from: it stays the same over a reboot, as a real card's does.
    pub card: u32,
    /// Address of the machine.
    pub address: Ipv4Addr,
    /// Length of the network part, in bits.
    pub prefix: u8,
    /// Whether the end at the switch is plugged in.
    pub connected: bool,
}

/// Leave the holder's network namespace for a new one that is wired to the switch by `eth0`.
pub fn enter_new_network(wire: Wire<'_>) -> Result<()> {
    let holder = File::open("/proc/self/ns/net").context("cannot find the switch")?;
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let machine = File::open("/proc/self/ns/net").context("cannot find the new network namespace")?;
    // Seen from the host: the machine's own numbering does not fit the proc file system that is mounted here.
    let me = std::fs::read_link("/proc/self").context("cannot find the own process")?;
    let peer = PathBuf::from("/proc").join(me).join("fd").join(holder.as_raw_fd().to_string());
    let [_, a, b, c] = wire.card.to_be_bytes();
    let card = format!("02:4a:53:{a:02x}:{b:02x}:{c:02x}");
    ip(&format!(
        "link set lo up\n\
         link add eth0 address {card} type veth peer name {port} netns {peer}\n\
         addr add {address}/{prefix} broadcast + dev eth0\n\
         link set eth0 up\n",
        port = wire.port,
        peer = peer.display(),
        address = wire.address,
        prefix = wire.prefix,
    ))?;
    // A changed address is announced, so that the others' address tables follow at once.
    drop(std::fs::write("/proc/sys/net/ipv4/conf/all/arp_notify", "1"));
    setns(&holder, CloneFlags::CLONE_NEWNET).context("cannot go back to the switch")?;
    ip(&format!("link set {} up\n{}", wire.port, plug(wire.port, wire.connected)))?;
    setns(&machine, CloneFlags::CLONE_NEWNET).context("cannot enter the new network namespace")
}

/// The `ip` command that plugs a port in or takes it off the switch. The machine's carrier stays: it is the network
/// that is cut, so packets vanish, as they do in a partition.
pub fn plug(port: &str, connected: bool) -> String {
    if connected {
        format!("link set {port} master {SWITCH}\n")
    } else {
        format!("link set {port} nomaster\n")
    }
}

/// Take the wire of a machine that is off away from the switch. The kernel removes it with the machine's network namespace, but in
/// its own time: until then it would answer for the dead machine, that nothing listens there.
pub fn remove_port(holder: u32, port: &str) -> Result<()> {
    match ip_in(holder, &format!("link del {port}\n")) {
        Err(error) if format!("{error:#}").contains("Cannot find device") => Ok(()),
        removed => removed,
    }
}

/// Change what becomes of the packets that leave a machine, whose first process this is.
pub fn set_sending(first: u32, subnet: Subnet, before: Sending, now: Sending) -> Result<()> {
    if before.is_lost != now.is_lost {
        let rule = if now.is_lost {
            format!("rule add {LOST} to {subnet} blackhole\n")
        } else {
            format!("rule del {LOST}\n")
        };
        ip_in(first, &rule)?;
    }
    let is_slow = |sending: Sending| sending.delay_ms > 0 || sending.loss_percent > 0;
    let queue = match (is_slow(before), is_slow(now)) {
        (_, true) => {
            format!("replace dev eth0 root netem delay {}ms loss {}%", now.delay_ms, now.loss_percent)
        }
        (true, false) => "del dev eth0 root".to_owned(),
        (false, false) => return Ok(()),
    };
    let output = Command::new("nsenter")
        .args(["-t", &first.to_string(), "-n", "--", "tc", "qdisc"])
        .args(queue.split(' '))
        .output()
        .context("cannot run tc: install iproute2")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("qdisc kind is unknown") {
            bail!("cannot slow links: the kernel of this computer has no netem (sch_netem)");
        }
        bail!("cannot slow the link: {}", said.trim());
    }
    Ok(())
}

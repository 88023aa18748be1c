//! What the earlier charm has left here, known by what is in it, and the units of other people that start etcd, known by what
//! they do. What cannot be read is not that charm's.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host::{self, files};
use crate::world::{Inherited, Leftover, LeftoverKind};

const UNITS: &str = "etc/systemd/system";
/// The earlier charm's service that starts etcd, and its program.
const KICKER: &str = "etc/systemd/system/cdk-service-kicker.service";
const KICKER_PROGRAM: &str = "usr/bin/cdk-service-kicker";
/// The plugin goes last: it tells whose the list is.
const CHECK: [&str; 3] = [
    "etc/cron.d/check_etcd-alarms",
    "var/lib/nagios/etcd-alarm-list.txt",
    "usr/lib/nagios/plugins/check_etcd-alarms.py",
];
const RULES: &str = "etc/systemd/system/snap.etcd.etcd.service.d/always-restart.conf";
const FSTAB: &str = "etc/fstab";
const ALIASES: [&str; 2] = ["root/.bash_aliases", "home/ubuntu/.bash_aliases"];
/// Keys of a unit file whose value names other units that are started with it or by it.
const STARTING_KEYS: [&str; 7] =
    ["Wants", "Requires", "BindsTo", "Upholds", "Unit", "OnFailure", "OnSuccess"];

pub(super) fn look() -> Inherited {
    find(Path::new("/"), host::etcd_service().unit())
}

fn find(root: &Path, service: &str) -> Inherited {
    let is_kicker = is_kicker(root);
    let mut leftovers = Vec::new();
    let mut add = |kind, name: &str, rest| leftovers.push(Leftover { kind, path: root.join(name), rest });
    if is_kicker {
        add(LeftoverKind::Kicker, KICKER, None);
    }
    for name in check_files(root) {
        add(LeftoverKind::AlarmCheck, name, None);
    }
    if text(&root.join(RULES)).is_some_and(|text| is_restart_rules(&text)) {
        add(LeftoverKind::RestartRules, RULES, None);
    }
    if let Some(rest) = text(&root.join(FSTAB)).and_then(|text| without(&text, is_mount)) {
        add(LeftoverKind::Mount, FSTAB, Some(rest));
    }
    for name in ALIASES {
        if let Some(rest) = text(&root.join(name)).and_then(|text| without(&text, is_alias)) {
            add(LeftoverKind::Aliases, name, Some(rest).filter(|rest| !rest.trim().is_empty()));
        }
    }
    let mut starters = starters(root, service);
    if is_kicker {
        starters.remove("cdk-service-kicker.service");
    }
    Inherited { leftovers, starters: starters.into_iter().collect() }
}

fn text(path: &Path) -> Option<String> {
    let bytes = files::read(path);
    let bytes =
        bytes.inspect_err(|error| tracing::debug!(path = %path.display(), error = %error, "not read"));
    String::from_utf8(bytes.ok()??).ok()
}

/// Other charms bring the same service for their own: only one that is told of etcd alone is etcd's.
fn is_kicker(root: &Path) -> bool {
    let program = text(&root.join(KICKER_PROGRAM)).unwrap_or_default();
    let has = |line: &str| program.lines().any(|one| one.trim() == line);
    let is_its_unit = match files::read(root.join(KICKER)) {
        Ok(None) => true,
        Ok(Some(unit)) => {
            let unit = String::from_utf8_lossy(&unit).into_owned();
            unit.lines()
                .any(|line| line.starts_with("ExecStart=") && line.contains("/usr/bin/cdk-service-kicker"))
        }
        Err(_) => false,
    };
    has("services=\"snap.etcd.etcd\"") && has("systemctl restart \"$service\" || true") && is_its_unit
}

/// Those of the check for alarms that are there and that charm's.
fn check_files(root: &Path) -> Vec<&'static str> {
    let [cron, list, plugin] = CHECK;
    let of = |name: &str| text(&root.join(name));
    let fills_list =
        |line: &str| line.contains("alarm list") && line.contains("/var/lib/nagios/etcd-alarm-list.txt");
    let is_cron = of(cron).is_some_and(|text| {
        let mut lines =
            text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
        lines.peek().is_some() && lines.all(fills_list)
    });
    let is_plugin = of(plugin).is_some_and(|text| {
        text.contains("/var/lib/nagios/etcd-alarm-list.txt") && text.contains("nagios_plugin3")
    });
    let is_list = of(list).is_some_and(|text| {
        let is_alarm = |line: &str| line.trim().is_empty() || line.starts_with("memberID:");
        is_cron || is_plugin || text.lines().all(is_alarm)
    });
    let found = [(cron, is_cron), (list, is_list), (plugin, is_plugin)];
    found.into_iter().filter(|(_, is_its)| *is_its).map(|(name, _)| name).collect()
}

fn is_restart_rules(text: &str) -> bool {
    const KNOWN: [&str; 6] = [
        "[Unit]",
        "[Service]",
        "StartLimitIntervalSec=0",
        "StartLimitInterval=0",
        "RestartSec=10",
        "Restart=always",
    ];
    text.lines().map(str::trim).all(|line| line.is_empty() || KNOWN.contains(&line))
}

/// By the kernel's name of the device, as that charm wrote it.
fn is_mount(line: &str) -> bool {
    let fields: Vec<&str> = line.split(' ').collect();
    matches!(fields[..], [device, "/media/etcd", "ext4", "defaults", "0", "0"] if device.starts_with("/dev/"))
}

fn is_alias(line: &str) -> bool {
    let set = line.strip_prefix("export ETCDCTL_").and_then(|set| set.split_once("=/var/snap/etcd/common/"));
    const KNOWN: [(&str, &str); 6] = [
        ("KEY_FILE", "client.key"),
        ("CERT_FILE", "client.crt"),
        ("CA_FILE", "ca.crt"),
        ("KEY", "client.key"),
        ("CERT", "client.crt"),
        ("CACERT", "ca.crt"),
    ];
    set.is_some_and(|set| KNOWN.contains(&set))
}

/// The text without such lines; `None` if it has none.
fn without(text: &str, is_one: fn(&str) -> bool) -> Option<String> {
    let is_kept = |line: &&str| !is_one(line.trim_end_matches('\n'));
    let rest: String = text.split_inclusive('\n').filter(is_kept).collect();
    (rest != text).then_some(rest)
}

/// Of the administrator's units and drop-ins, but for the service's own.
fn starters(root: &Path, service: &str) -> BTreeSet<String> {
    let units = root.join(UNITS);
    let mut found = BTreeSet::new();
    for name in files::list(&units).unwrap_or_default() {
        let unit = name.strip_suffix(".d").unwrap_or(&name);
        let is_unit =
            [".service", ".timer", ".path", ".socket", ".target"].iter().any(|end| unit.ends_with(end));
        if !is_unit || unit == service {
            continue;
        }
        let path = units.join(&name);
        let parts = match files::list(&path) {
            Ok(parts) if path.is_dir() => parts.into_iter().map(|part| path.join(part)).collect(),
            _ => vec![path],
        };
        let mut texts = parts.iter().filter_map(|part| files::read_named(part).ok()?);
        let by_name = unit.rsplit_once('.').is_some_and(|(stem, kind)| {
            kind != "service" && kind != "target" && service.strip_suffix(".service") == Some(stem)
        });
        if by_name || texts.any(|text| starts(&String::from_utf8_lossy(&text), service, root)) {
            found.insert(unit.to_owned());
        }
    }
    found
}

fn starts(unit: &str, service: &str, root: &Path) -> bool {
    unit.lines().filter_map(|line| line.trim().split_once('=')).any(|(key, value)| {
        let (key, value) = (key.trim(), value.trim());
        if STARTING_KEYS.contains(&key) {
            return value.split_whitespace().any(|name| name == service);
        }
        key.starts_with("Exec") && (commands(value, service) || script_commands(value, service, root))
    })
}

/// Whether such commands start the service.
fn commands(text: &str, service: &str) -> bool {
    let name = service.strip_suffix(".service").unwrap_or(service);
    let is_verb = |word: &str| ["start", "restart"].contains(&word);
    let has_verb = text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_verb);
    has_verb
        && (text.contains(name) || text.contains("snap start etcd") || text.contains("snap restart etcd"))
}

/// The same of scripts among the words of a command line.
fn script_commands(value: &str, service: &str, root: &Path) -> bool {
    let words = value.split_whitespace().map(|word| word.trim_start_matches(['-', '@', ':', '+', '!']));
    let mut scripts = words
        .filter_map(|word| files::read_named(root.join(word.strip_prefix('/')?)).ok()?)
        .filter(|file| file.starts_with(b"#!"));
    scripts.any(|script| commands(&String::from_utf8_lossy(&script), service))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SERVICE: &str = "snap.etcd.etcd.service";
    const KICKER_TEXT: &str = "#!/bin/sh\nset -eu\nservices=\"snap.etcd.etcd\"\nfor service in $services; do\n  \
                               if ! systemctl is-active \"$service\"; then\n    systemctl restart \"$service\" || true\n  \
                               fi\ndone\n";
    const KICKER_UNIT: &str =
        "[Service]\nExecStart=/usr/bin/cdk-service-kicker\n[Install]\nWantedBy=multi-user.target\n";
    const CRON: &str = "# check_etcd_alarms\n* * * * * root [ -x /snap/bin/etcdctl ] && ETCDCTL_API=3 /snap/bin/etcdctl alarm \
                        list 2>&1| tee /var/lib/nagios/etcd-alarm-list.txt > /dev/null";
    const PLUGIN: &str = "import nagios_plugin3\nalarm_list_path = '/var/lib/nagios/etcd-alarm-list.txt'\n";

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn left(files: &[(&str, &str)]) -> Vec<(LeftoverKind, String, Option<String>)> {
        let root = machine(files);
        let name = |path: &Path| path.strip_prefix(root.path()).unwrap().display().to_string();
        let found = find(root.path(), SERVICE).leftovers;
        found.into_iter().map(|one| (one.kind, name(&one.path), one.rest)).collect()
    }

    #[test]
    fn all_of_that_charms_files_are_known() {
        let aliases = "export ETCDCTL_KEY_FILE=/var/snap/etcd/common/client.key\n\
                       export ETCDCTL_CA_FILE=/var/snap/etcd/common/ca.crt\n";
        let found = left(&[
            (KICKER_PROGRAM, KICKER_TEXT),
            (KICKER, KICKER_UNIT),
            (CHECK[0], CRON),
            (CHECK[1], "Error: context deadline exceeded\n"),
            (CHECK[2], PLUGIN),
            (RULES, "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestartSec=10\n"),
            (FSTAB, "UUID=1 / ext4 defaults 0 1\n/dev/sdb /media/etcd ext4 defaults 0 0"),
            (ALIASES[0], aliases),
            (ALIASES[1], &format!("alias ll='ls -l'\n{aliases}")),
        ]);
        let whole = |kind, name: &str| (kind, name.to_owned(), None);
        let expected = vec![
            whole(LeftoverKind::Kicker, KICKER),
            whole(LeftoverKind::AlarmCheck, CHECK[0]),
            whole(LeftoverKind::AlarmCheck, CHECK[1]),
            whole(LeftoverKind::AlarmCheck, CHECK[2]),
            whole(LeftoverKind::RestartRules, RULES),
            (LeftoverKind::Mount, FSTAB.to_owned(), Some("UUID=1 / ext4 defaults 0 1\n".to_owned())),
            whole(LeftoverKind::Aliases, ALIASES[0]),
            (LeftoverKind::Aliases, ALIASES[1].to_owned(), Some("alias ll='ls -l'\n".to_owned())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_somebody_elses_is_not_that_charms() {
        let others = [
            (KICKER_PROGRAM, KICKER_TEXT.replace("snap.etcd.etcd", "snap.kubelet.daemon snap.etcd.etcd")),
            (KICKER, KICKER_UNIT.to_owned()),
            (CHECK[0], format!("{CRON}\n0 * * * * root /opt/own\n")),
            (CHECK[1], "of another program\n".to_owned()),
            (CHECK[2], "#!/bin/sh\n".to_owned()),
            (RULES, "[Service]\nRestart=always\nRestartSec=3\n".to_owned()),
            (
                FSTAB,
                "/dev/sdb /media/etcd ext4 noatime 0 0\n/dev/sdc /media/other ext4 defaults 0 0\n".to_owned(),
            ),
            (ALIASES[0], "export ETCDCTL_KEY_FILE=/root/own.key\nexport ETCDCTL_API=3\n".to_owned()),
        ];
        let others: Vec<(&str, &str)> = others.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(left(&others), []);
        assert_eq!(left(&[]), []);
        assert_eq!(left(&[(CHECK[1], "memberID:1 alarm:NOSPACE\n")]).len(), 1);
        assert_eq!(left(&[(KICKER_PROGRAM, KICKER_TEXT)]).len(), 1, "killed before the last change");
    }

    #[test]
    fn who_starts_etcd_is_known_by_what_it_does() {
        let unit = |name: &str| format!("{UNITS}/{name}");
        let names = [
            ("a.service", "[Unit]\nWants=network.target snap.etcd.etcd.service\n"),
            ("b.timer", "[Timer]\nUnit=snap.etcd.etcd.service\n"),
            ("c.service", "[Service]\nExecStartPre=-/bin/systemctl restart snap.etcd.etcd\n"),
            ("d.service", "[Service]\nExecStart=/bin/sh -e /opt/watchdog --now\n"),
            ("e.service.d/more.conf", "[Unit]\nOnFailure=snap.etcd.etcd.service\n"),
            ("f.service", "[Service]\nExecStart=/bin/sh -c 'snap restart etcd'\n"),
            ("snap.etcd.etcd.service.d/own.conf", "[Unit]\nWants=snap.etcd.etcd.service\n"),
            ("snap.etcd.etcd.service", "[Service]\nExecStart=/usr/bin/snap run etcd start\n"),
            ("g.service", "[Unit]\nAfter=snap.etcd.etcd.service\n# Wants=snap.etcd.etcd.service\n"),
            ("h.service", "[Service]\nExecStart=/bin/systemctl stop snap.etcd.etcd\n"),
            ("i.service", "[Service]\nExecStart=/bin/systemctl restart snap.etcd-proxy.other\n"),
        ];
        let named: Vec<(String, &str)> = names.iter().map(|(name, text)| (unit(name), *text)).collect();
        let mut files: Vec<(&str, &str)> = named.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        files.push(("opt/watchdog", "#!/bin/sh\nfor one in snap.etcd.etcd; do systemctl start $one; done\n"));
        let root = machine(&files);
        let found = find(root.path(), SERVICE).starters;
        assert_eq!(
            found,
            ["a.service", "b.timer", "c.service", "d.service", "e.service", "f.service"].map(str::to_owned)
        );
    }

    #[test]
    fn a_service_that_starts_more_than_etcd_is_named_and_not_removed() {
        let more = KICKER_TEXT.replace("snap.etcd.etcd", "snap.kubelet.daemon snap.etcd.etcd");
        let root = machine(&[(KICKER_PROGRAM, more.as_str()), (KICKER, KICKER_UNIT)]);
        let found = find(root.path(), SERVICE);
        assert_eq!(
            (found.leftovers, found.starters),
            (vec![], vec!["cdk-service-kicker.service".to_owned()])
        );
        let root = machine(&[(KICKER_PROGRAM, KICKER_TEXT), (KICKER, KICKER_UNIT)]);
        assert!(find(root.path(), SERVICE).starters.is_empty());
    }
}

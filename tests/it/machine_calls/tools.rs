//! Programs that are this computer's own on a light machine and the image's on a booted one: packages, certificates, archives.

use super::machines::Machines;
use super::table::{Call, Group, Reads, State, Table};

#[test]
fn tools_are_the_same_on_light_and_on_booted_machines() {
    Machines::new(crate::sim::given("JUJU_SIM_SNAPS")).compare(&TABLE);
}

pub const TABLE: Table = Table {
    words: WORDS,
    reload: "",
    groups: &[
        Group { states: PACKAGES, calls: &[DPKG] },
        Group { states: NEW_AUTHORITIES, calls: &[NEW] },
        Group { states: CHANGED_AUTHORITIES, calls: &[CHANGED] },
        Group { states: FILES, calls: &[COPIES] },
        Group { states: SNAP_FILES, calls: &[UNSQUASHFS] },
    ],
    clear: CLEAR,
    unlike: &[],
};

/// `package NAME [FIELD]` makes and installs one with a configuration file and a home that its purge deletes.
const WORDS: &str = r##"
package() {
    rm -rf /root/deb; mkdir -p /root/deb/DEBIAN /root/deb/etc/default /root/deb/var/lib/$1
    printf "Package: $1\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: for a test\n${2:+$2\n}" > /root/deb/DEBIAN/control
    echo "/etc/default/$1" > /root/deb/DEBIAN/conffiles
    echo "ETCD_NAME=one" > /root/deb/etc/default/$1
    printf "#!/bin/sh\nset -e\n[ \"\$1\" != purge ] || rm -rf /var/lib/$1\n" > /root/deb/DEBIAN/postrm
    chmod 755 /root/deb/DEBIAN/postrm
    dpkg-deb --build --root-owner-group /root/deb /root/$1.deb; dpkg -i /root/$1.deb
}
packages() { dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' etcd etcd-server etcd-client other; ls -d /etc/default/etcd* /var/lib/etcd* /var/lib/dpkg/info/etcd*.list; }
authority() {
    mkdir -p /usr/local/share/ca-certificates
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj "/CN=$1" -days 9 -out /usr/local/share/ca-certificates/$U$1.crt
}
trusted() {
    for file in /usr/local/share/ca-certificates/$U*.crt; do
        grep -qF "$(sed -n 2p $file)" /etc/ssl/certs/ca-certificates.crt && echo "trusted: $file"
    done
    find /etc/ssl/certs -name "$U*" -printf '%f -> %l\n'
}
files() { find /root/$U /root/$U.out -printf '%p %y %m %u:%g %s\n' | grep -v '\.gz '; }
"##;

const CLEAR: &str = "rm -f /var/lib/dpkg/info/etcd*.prerm; dpkg --purge other etcd etcd-server etcd-client; rm -rf /usr/local/share/ca-certificates/$U* /root/$U /root/$U.out";

const DPKG: &[Call] = &[
    Call { words: &["dpkg", "--purge", "etcd"], reads: Reads::Refusal, effect: "packages" },
    Call {
        words: &["dpkg", "--purge", "etcd-server", "etcd-client"],
        reads: Reads::Refusal,
        effect: "packages",
    },
];

const PACKAGES: &[State] = &[
    State { name: "no package", files: "", brought: "" },
    State {
        name: "installed packages",
        files: "",
        brought: "for name in etcd etcd-server etcd-client; do package $name; done",
    },
    State {
        name: "removed packages with their configuration left",
        files: "",
        brought: "for name in etcd etcd-server etcd-client; do package $name; dpkg --remove $name; done",
    },
    State {
        name: "packages that another one needs",
        files: "",
        brought: "package etcd; package etcd-server; package etcd-client; package other 'Depends: etcd, etcd-server'",
    },
    State {
        name: "packages whose removal fails",
        files: "",
        brought: "for name in etcd etcd-server etcd-client; do package $name; printf '#!/bin/sh\nexit 3\n' > /var/lib/dpkg/info/$name.prerm; chmod 755 /var/lib/dpkg/info/$name.prerm; done",
    },
];

/// Without `--fresh` only what is new is wanted of it.
const NEW: &[Call] = &[Call { words: &["update-ca-certificates"], reads: Reads::Refusal, effect: "trusted" }];

const CHANGED: &[Call] =
    &[Call { words: &["update-ca-certificates", "--fresh"], reads: Reads::Refusal, effect: "trusted" }];

const NEW_AUTHORITIES: &[State] = &[
    State { name: "the same authorities", files: "", brought: "authority kept; update-ca-certificates" },
    State {
        name: "a new authority",
        files: "",
        brought: "authority kept; update-ca-certificates; authority one",
    },
];

const CHANGED_AUTHORITIES: &[State] = &[
    State {
        name: "an authority that was replaced",
        files: "",
        brought: "authority kept; authority one; update-ca-certificates; authority one",
    },
    State {
        name: "an authority that has gone",
        files: "",
        brought: "authority kept; authority one; authority two; update-ca-certificates; rm /usr/local/share/ca-certificates/${U}two.crt",
    },
];

const COPIES: &[Call] = &[
    Call {
        words: &["tar", "--create", "--gzip", "--file", "/root/$U.out", "--absolute-names", "/root/$U"],
        reads: Reads::Refusal,
        effect: "tar --list --verbose --absolute-names --file /root/$U.out | cut -c1-30",
    },
    Call { words: &["cp", "-a", "/root/$U", "/root/$U.out"], reads: Reads::Refusal, effect: "files" },
    Call { words: &["chown", "-R", "0:0", "/root/$U"], reads: Reads::Refusal, effect: "files" },
    Call {
        words: &["chown", "-R", "--reference", "/root", "/root/$U"],
        reads: Reads::Refusal,
        effect: "files",
    },
    Call { words: &["rm", "-rf", "/root/$U"], reads: Reads::Refusal, effect: "files" },
    Call {
        words: &["setpriv", "--pdeathsig", "KILL", "--", "etcd", "--config-file", "/root/$U/member/db"],
        reads: Reads::Refusal,
        effect: "",
    },
    // A machine of a test reaches nobody: what counts is that the words are understood.
    Call {
        words: &[
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--insecure",
            "--noproxy",
            "*",
            "--data",
            "{}",
            "http://127.0.0.1:1/v3/cluster/member/list",
        ],
        reads: Reads::Code,
        effect: "",
    },
    Call {
        words: &[
            "curl",
            "--disable",
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--globoff",
            "--max-redirs",
            "5",
            "--proto",
            "=http,https",
            "--proto-redir",
            "=http,https",
            "--connect-timeout",
            "20",
            "--speed-limit",
            "1024",
            "--speed-time",
            "60",
            "--max-filesize",
            "1000000",
            "--output",
            "/root/$U.out",
            "--config",
            "-",
        ],
        reads: Reads::Code,
        effect: "files",
    },
];

const FILES: &[State] = &[
    State { name: "no files", files: "", brought: "" },
    State {
        name: "files of another user",
        files: "",
        brought: "printf '#!/bin/sh\ncat $2\n' > /usr/local/bin/etcd; chmod 755 /usr/local/bin/etcd; mkdir -p /root/$U/member; echo 1 > /root/$U/member/db; chmod 600 /root/$U/member/db; chown -R 33:33 /root/$U",
    },
];

const UNSQUASHFS: &[Call] = &[Call {
    words: &[
        "unsquashfs",
        "-no-progress",
        "-no-xattrs",
        "-dest",
        "/root/$U.out",
        "/root/$U",
        "meta/snap.yaml",
    ],
    reads: Reads::Code,
    effect: "find /root/$U.out -type f | sort; cat /root/$U.out/meta/snap.yaml",
}];

const SNAP_FILES: &[State] = &[
    State { name: "no snap file", files: "", brought: "" },
    State { name: "a file that is cut short", files: "", brought: "printf hsqs > /root/$U" },
    State {
        name: "a snap file",
        files: "",
        brought: "mkdir -p /tmp/$U/meta; echo 'name: etcd' > /tmp/$U/meta/snap.yaml; mksquashfs /tmp/$U /root/$U -quiet -no-progress -no-xattrs",
    },
    State {
        name: "a squashfs image without a snap",
        files: "",
        brought: "mkdir -p /tmp/$U/other; mksquashfs /tmp/$U /root/$U -quiet -no-progress -no-xattrs",
    },
];

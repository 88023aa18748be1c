//! House rules as a test: sizes, words that must not stay, and which way dependencies may point.
//!
//! A rule about code looks at what is shipped: comments and test modules may say and do what they like.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines in a Rust file, tests included; longer ones are split by meaning.
const FILE_LINES_MAX: usize = 450;

/// Something that only some files may mention.
struct Boundary {
    why: &'static str,
    /// Folders and files the rule is about; a folder ends with a slash.
    inside: &'static [&'static str],
    /// Files within them that are exempt.
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        why: "decisions and their types are pure: no tool, no process, no file, no clock",
        inside: &["src/decide.rs", "src/decide/", "src/world.rs", "src/step.rs", "src/relations/"],
        except: &[],
        forbidden: &[
            "crate::act",
            "crate::observe",
            "crate::juju::tools",
            "crate::juju::Tools",
            "crate::process",
            "std::env",
            "std::fs",
            "std::process",
            "tokio::",
            "SystemTime::now",
            "Instant::now",
        ],
    },
    Boundary {
        why: "the YAML library is behind one small module in each crate",
        inside: &["src/", "simulator/src/"],
        except: &["src/yaml.rs", "simulator/src/yaml.rs"],
        forbidden: &["yaml_serde"],
    },
    Boundary {
        why: "the ports know nothing of the charm",
        inside: &["src/juju/", "src/host/", "src/etcd/", "src/tls/"],
        except: &[],
        forbidden: &[
            "crate::act",
            "crate::decide",
            "crate::observe",
            "crate::options",
            "crate::relations",
            "crate::step",
            "crate::world",
        ],
    },
    Boundary {
        why: "the ports know nothing of each other",
        inside: &["src/juju/"],
        except: &[],
        forbidden: &["crate::host", "crate::etcd", "crate::tls"],
    },
    Boundary {
        why: "the ports know nothing of each other",
        inside: &["src/host/"],
        except: &[],
        forbidden: &["crate::juju", "crate::etcd", "crate::tls"],
    },
    Boundary {
        why: "the ports know nothing of each other",
        inside: &["src/etcd/"],
        except: &[],
        forbidden: &["crate::juju", "crate::host", "crate::tls"],
    },
    Boundary {
        why: "the ports know nothing of each other",
        inside: &["src/tls/"],
        except: &[],
        forbidden: &["crate::juju", "crate::host", "crate::etcd"],
    },
    Boundary {
        why: "the simulator runs any charm: it knows nothing of etcd's",
        inside: &["simulator/src/"],
        except: &[],
        forbidden: &["etcd_charm", "etcd-charm"],
    },
];

struct Source {
    /// Relative to the project, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_inside(&self, places: &[&str]) -> bool {
        places
            .iter()
            .any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    /// The numbered lines that are shipped: no comments, nothing from an in-file test module on.
    fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    /// The files of modules that are declared here for tests only.
    fn test_modules(&self) -> impl Iterator<Item = String> {
        let path = Path::new(&self.path);
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "main" | "lib") | None => parent.to_owned(),
            Some(stem) => parent.join(stem),
        };
        let declared = self.text.split("#[cfg(test)]\n").skip(1).filter_map(|after| {
            let line = after.lines().next()?.trim().strip_suffix(';')?;
            line.rsplit_once("mod ").map(|(_, name)| name.to_owned())
        });
        declared.map(move |name| format!("{}/{name}.rs", folder.display()))
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every text file of the project that people write, in the order of their paths.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in [".ci", ".github", "docs", "scripts", "simulator", "src", "templates", "tests"] {
        collect(&project().join(folder), &mut files);
    }
    files.extend(
        fs::read_dir(project()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()),
    );
    files.sort();
    let generated = |path: &PathBuf| path.ends_with("Cargo.lock") || path.ends_with("LICENSE");
    let readable = files.into_iter().filter(|path| !generated(path)).filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        Some(Source { path: path.strip_prefix(project()).unwrap().to_str()?.to_owned(), text })
    });
    readable.collect()
}

fn rust_files() -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

/// Fails with all complaints at once, one a line.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn rust_files_are_short_enough_to_read() {
    let long = rust_files().into_iter().filter(|source| source.text.lines().count() > FILE_LINES_MAX);
    let complaints: Vec<_> = long
        .map(|source| {
            format!("{}: {} lines, {FILE_LINES_MAX} allowed", source.path, source.text.lines().count())
        })
        .collect();
    expect_none(&complaints);
}

#[test]
fn every_rust_file_starts_with_its_purpose() {
    let silent = rust_files().into_iter().filter(|source| !source.text.starts_with("//! "));
    expect_none(
        &silent.map(|source| format!("{}: does not start with `//! `", source.path)).collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not accuse itself.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!"), concat!("to", "do!(")];
    let mut complaints = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            complaints.extend(found.map(|word| format!("{}:{}: {word}", source.path, index + 1)));
        }
    }
    expect_none(&complaints);
}

#[test]
fn dependencies_point_one_way() {
    let files = rust_files();
    let test_modules: BTreeSet<_> = files.iter().flat_map(Source::test_modules).collect();
    let mut complaints = Vec::new();
    for boundary in BOUNDARIES {
        let concerned = files.iter().filter(|source| {
            source.is_inside(boundary.inside)
                && !source.is_inside(boundary.except)
                && !test_modules.contains(&source.path)
        });
        for source in concerned {
            for (number, line) in source.shipped_lines() {
                let found = boundary.forbidden.iter().find(|needle| line.contains(**needle));
                complaints.extend(
                    found.map(|needle| format!("{}:{number}: {needle} ({})", source.path, boundary.why)),
                );
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn charm_and_simulator_share_no_code() {
    let read = |path: &str| fs::read_to_string(project().join(path)).unwrap();
    assert!(!read("simulator/Cargo.toml").contains("etcd-charm"), "the simulator depends on the charm");
    let charm = read("Cargo.toml");
    assert!(!charm.contains("juju-sim ="), "the charm depends on the simulator");
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_front_door_leads_to_what_is_there() {
    let mut complaints = Vec::new();
    for page in ["CONTRIBUTING.md", "GLOSSARY.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(project().join(page)).unwrap();
        let is_file = |name: &str| {
            let folder = name.split_once('/').map(|(folder, _)| folder);
            folder.is_some_and(|folder| !folder.is_empty() && project().join(folder).is_dir())
                && !name.contains("NAME")
                // What is built may not be there yet.
                && folder != Some("target")
        };
        for path in quoted(&text).filter(|name| is_file(name)) {
            let program = path.split(' ').next().unwrap();
            if !project().join(program).exists() {
                complaints.push(format!("{page}: {path} is not there"));
            }
        }
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("https://") && !project().join(target).exists() {
                complaints.push(format!("{page}: {target} is not there"));
            }
        }
        // A name that follows its file: `src/x.rs`: `name`.
        for (before, after) in text.match_indices("`: `").map(|(at, sign)| text.split_at(at + sign.len())) {
            let path = before.rsplit('`').nth(2).unwrap();
            let name = after.split('`').next().unwrap();
            let there = fs::read_to_string(project().join(path)).unwrap_or_default();
            if !there.contains(name) {
                complaints.push(format!("{page}: {path} has no {name}"));
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn the_changelog_knows_this_version() {
    let read = |path: &str| fs::read_to_string(project().join(path)).unwrap();
    let manifest = read("Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    let changelog = read("CHANGELOG.md");
    assert!(changelog.contains(&format!("\n## {version}\n")), "CHANGELOG.md says nothing of {version}");
}

#[test]
fn shipped_lines_leave_out_comments_and_tests() {
    let text = "//! Head.\nuse a;\n    // why\nfn b() {}\n\n#[cfg(test)]\nmod tests {\n    use c;\n}\n";
    let source = Source { path: "src/x.rs".into(), text: text.into() };
    let shipped: Vec<_> = source.shipped_lines().filter(|(_, line)| !line.is_empty()).collect();
    assert_eq!(shipped, [(2, "use a;"), (4, "fn b() {}")]);
}

#[test]
fn test_modules_are_found_beside_their_parent() {
    let text = "mod a;\n#[cfg(test)]\nmod fake;\n#[cfg(test)]\npub(crate) mod tests;\n";
    let of = |path: &str| Source { path: path.into(), text: text.into() }.test_modules().collect::<Vec<_>>();
    assert_eq!(of("src/juju/tools.rs"), ["src/juju/tools/fake.rs", "src/juju/tools/tests.rs"]);
    assert_eq!(of("src/juju/mod.rs"), ["src/juju/fake.rs", "src/juju/tests.rs"]);
}

//! Links juju-sim at a fixed address: thirty thousand relocations would otherwise be done at every start of a hook tool.

fn main() {
    println!("cargo::rustc-link-arg-bins=-no-pie");
    println!("cargo::rerun-if-changed=build.rs");
}

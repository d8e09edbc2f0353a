//! Builds the kernel programs, which the library embeds.
//!
//! Two kinds of toolchain can: a rustc that has `core` for the BPF target ready made (Debian's `rustc-web` with
//! `libstd-rust-web-dev-bpf`), or rustup's nightly with `rust-src`, which builds `core` itself.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "kcap-recorder-ebpf";
/// A rustc with `core` for the target, tried before all others.
const RUSTC_VARIABLE: &str = "KCAP_BPF_RUSTC";
/// Where distributions put theirs.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

fn main() {
    compile_interfaces();
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let source_dir = manifest_dir.join("../recorder-ebpf");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", source_dir.display());
    println!("cargo:rerun-if-env-changed={RUSTC_VARIABLE}");

    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ENDIAN") != "little" {
        fail("kcap-recorder is for little-endian Linux: leave it out with -p kcap-query or without -p");
    }
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let target_dir = out_dir.join("bpf");
    let mut command = toolchain().command();
    command
        .arg("--manifest-path")
        .arg(source_dir.join("Cargo.toml"))
        .args(["--bin", PACKAGE, "--features", "programs", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target_dir);
    let output = command.output().unwrap_or_else(|error| fail(&format!("{command:?}: {error}")));
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        fail(
            "the kernel programs could not be built (see above); if the toolchain is at fault, run `make setup`",
        );
    }
    let object = target_dir.join(TARGET).join("release").join(PACKAGE);
    fs::copy(&object, out_dir.join("programs.o"))
        .unwrap_or_else(|error| fail(&format!("{}: {error}", object.display())));
}

/// Makes a client of the Container Runtime Interface, with a compiler written in Rust: no protoc is needed.
fn compile_interfaces() {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["cri.proto"], ["proto"]).unwrap_or_else(|error| fail(&format!("{error}")));
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)
        .unwrap_or_else(|error| fail(&format!("proto/cri.proto: {error}")));
}

enum Toolchain {
    /// This compiler has `core` for the target.
    Ready(PathBuf),
    /// rustup's nightly has its source.
    Nightly,
}

fn toolchain() -> Toolchain {
    if linker().is_none() {
        fail("bpf-linker isn't installed: run `make setup`");
    }
    let named = env::var_os(RUSTC_VARIABLE).map(PathBuf::from);
    let active = env::var_os("RUSTC").map(PathBuf::from);
    for rustc in [named, Some(SYSTEM_RUSTC.into()), active].into_iter().flatten() {
        if has_core(&rustc) {
            return Toolchain::Ready(rustc);
        }
    }
    if nightly_has_source() {
        return Toolchain::Nightly;
    }
    fail("no rustc here can build for the kernel: run `make setup`")
}

impl Toolchain {
    /// `cargo build`, free of what the build that runs this script has set for itself.
    fn command(&self) -> Command {
        let mut command = match self {
            Toolchain::Ready(_) => Command::new(variable("CARGO")),
            Toolchain::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
        };
        command.arg("build");
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY"].contains(&&*text)
                || text.starts_with("CARGO_REGISTRIES_")
                || text.starts_with("CARGO_SOURCE_");
            if !kept && (text.starts_with("CARGO") || text.starts_with("RUST")) && text != "RUSTUP_HOME" {
                command.env_remove(&name);
            }
        }
        let linker = linker().unwrap_or_else(|| "bpf-linker".into());
        let architecture = variable("CARGO_CFG_TARGET_ARCH");
        let flags = [
            format!("-Clinker={}", linker.display()),
            format!("--cfg=bpf_target_arch=\"{architecture}\""),
            // The kernel wants types for socket storage, and bpf-linker makes them from debug information.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
        ];
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        match self {
            Toolchain::Ready(rustc) => {
                // Inline assembly for this target is not stable yet.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            }
            Toolchain::Nightly => {
                command.args(["-Z", "build-std=core"]);
            }
        }
        command
    }
}

fn has_core(rustc: &Path) -> bool {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .env_remove("RUSTC_WRAPPER")
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return false };
    let Ok(folder) = fs::read_dir(String::from_utf8_lossy(&output.stdout).trim()) else { return false };
    folder.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn nightly_has_source() -> bool {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .env_remove("RUSTC")
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return false };
    let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && root.join("lib/rustlib/src/rust/library/core").is_dir()
}

/// bpf-linker in `PATH`, or where `cargo install` puts it.
fn linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

/// Ends the build with one line.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    std::process::exit(1);
}

//! Where the binaries under test are.

use std::env;
use std::path::{Path, PathBuf};

/// Folder of `kcap` and `kcap-record`, if not the one that the test itself was built into.
pub const BINARY_FOLDER_VARIABLE: &str = "KCAP_TEST_BINARIES";

/// The query tool, `kcap`.
pub fn kcap() -> PathBuf {
    binary("kcap")
}

/// The recorder, `kcap-record`.
pub fn kcap_record() -> PathBuf {
    binary("kcap-record")
}

/// The traffic maker of this package, `kcap-traffic`.
pub fn kcap_traffic() -> PathBuf {
    binary("kcap-traffic")
}

/// The maker of sockets of this package, `kcap-sockets`.
pub fn kcap_sockets() -> PathBuf {
    binary("kcap-sockets")
}

/// The folder that cargo leaves binaries in, e.g. `target/debug`: a test runs in `deps` below it, a binary in it.
pub fn build_folder() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let folder = own.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder }.to_owned()
}

/// The target folder itself, where scratch data and results go.
pub fn target_folder() -> PathBuf {
    build_folder().parent().expect("the build folder lies in the target folder").to_owned()
}

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

fn binary(name: &str) -> PathBuf {
    let folder = env::var_os(BINARY_FOLDER_VARIABLE).map_or_else(build_folder, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: build it first with `cargo build --workspace`", path.display());
    path
}

//! Compiles `spec/events.proto` with a compiler written in Rust, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let specification = "../spec";
    println!("cargo::rerun-if-changed={specification}/events.proto");
    let descriptors = protox::compile(["events.proto"], [specification])?;
    // Large, and unset in most events.
    let boxed = ["Process.binary", "Process.streams", "Process.initial_mapping", "MappingEvent.mapping"];
    let mut config = prost_build::Config::new();
    boxed.iter().for_each(|field| {
        config.boxed(format!(".kcap.v1.{field}"));
    });
    config.btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}

//! Compiles `spec/events.proto` with a compiler written in Rust, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let specification = "../spec";
    println!("cargo::rerun-if-changed={specification}/events.proto");
    let descriptors = protox::compile(["events.proto"], [specification])?;
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}

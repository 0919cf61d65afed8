//! Compiles `proto/` with protox, so that building needs no `protoc`, and keeps
//! the descriptor set that server reflection serves.

use std::path::PathBuf;

use prost::Message;
use prost_build::{Config, Service, ServiceGenerator};

/// The server sends messages of this method whose bytes are made once for all
/// streams, which generated code cannot do: `src/grpc/watch` answers it, and the
/// generated trait is without it.
const ANSWERED_BY_HAND: &str = "WatchStock";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["orders", "inventory", "events"].map(|name| format!("stockroom/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("stockroom_descriptor.bin"),
        descriptors.encode_to_vec(),
    )?;
    let generator = tonic_prost_build::configure;
    let services = Services {
        clients: generator().build_server(false).service_generator(),
        servers: generator().build_client(false).service_generator(),
    };
    let mut config = Config::new();
    config
        // Ordered maps, so that equal messages have equal bytes.
        .btree_map(["."])
        .service_generator(Box::new(services));
    config.compile_fds(descriptors)?;
    Ok(())
}

/// Clients of every method, and servers of those that are not answered by hand.
struct Services {
    clients: Box<dyn ServiceGenerator>,
    servers: Box<dyn ServiceGenerator>,
}

impl ServiceGenerator for Services {
    fn generate(&mut self, mut service: Service, code: &mut String) {
        self.clients.generate(service.clone(), code);
        service
            .methods
            .retain(|it| it.proto_name != ANSWERED_BY_HAND);
        self.servers.generate(service, code);
    }
}

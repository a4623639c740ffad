//! What a configuration and a command line say of Kafka.
//!
//! Owns addresses, options, places in a topic and the section `[kafka]`. Promises that every build
//! reads them alike, so that a build without the client refuses Kafka by name and not as an unknown
//! key. Never names the client library and never connects.

mod address;
mod cluster;
mod history;
mod settings;

use std::sync::Arc;

use crate::ports::source::{Absent, SourceKind, SourceReader, SourceSettings};
use crate::shard::command::Command;

pub use self::address::{KafkaUrl, KafkaUrlError, is_topic_name};
pub use self::cluster::{
    ClusterConfig, KafkaOption, KafkaOptionError, TopicPlace, TopicPlaceError,
};
pub use self::history::TopicHistory;
pub use self::settings::{
    Delivery, FileOption, KafkaConfig, LostOffset, StartAt, TOKEN_FILE, file_option,
    is_public_option, is_secret, read_section, secret_file_of,
};

/// What `source.kind = "kafka"` means in a build without the client.
pub const ABSENT: SourceKind<Command> = SourceKind { name: "kafka", read: read_absent };

fn read_absent(reader: SourceReader<'_, '_>) -> Arc<dyn SourceSettings<Command>> {
    let SourceReader { root, .. } = reader;
    read_section(root.section("kafka"));
    Arc::new(Absent { feature: "kafka" })
}

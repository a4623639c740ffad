//! Records of a TensorBoard event file.
//!
//! Owns the form: a TFRecord is its length, a checksum of that, its bytes and a checksum of those;
//! the bytes are the protobuf message `Event` of TensorFlow, of which four fields are used.
//! Promises that TensorBoard reads what is written: `tests/reference/tensorboard_log.py` tries it.
//! Never writes a file.
//!
//! ```text
//! Event    1 wall_time: double   2 step: int64   3 file_version: string   5 summary: Summary
//! Summary  1 value: Value, repeated             Value  1 tag: string   2 simple_value: float
//! ```

/// The first record of a file.
pub(super) fn version(wall_seconds: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_seconds);
    event.bytes(3, b"brain.Event:2");
    record(&event.0)
}

/// One value for each tag at a step.
#[expect(clippy::cast_possible_truncation, reason = "TensorBoard's scalars are 32-bit floats")]
pub(super) fn scalars(wall_seconds: f64, step: usize, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in values {
        let mut scalar = Message::default();
        scalar.bytes(1, tag.as_bytes());
        scalar.float(2, *value as f32);
        summary.bytes(1, &scalar.0);
    }
    let mut event = Message::default();
    event.double(1, wall_seconds);
    event.integer(2, step);
    event.bytes(5, &summary.0);
    record(&event.0)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(checksum(&length).to_le_bytes());
    record.extend(data);
    record.extend(checksum(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and moved on so that a checksum of data with checksums in it is another one.
fn checksum(data: &[u8]) -> u32 {
    let crc = !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            // The polynomial of Castagnoli, reflected.
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    });
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protobuf message under way.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(&mut self, field: u8, value: usize) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u8, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len());
        self.0.extend(value);
    }

    fn float(&mut self, field: u8, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn key(&mut self, field: u8, form: u8) {
        self.0.push((field << 3) | form);
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The check value of CRC-32C, `e3069283`, masked as TensorFlow masks it.
    #[test]
    fn checksums_have_their_published_value() {
        let crc = 0xe306_9283_u32;
        assert_eq!(checksum(b"123456789"), crc.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    /// Written by the classes of TensorBoard itself: `tests/reference/tensorboard_log.py --golden`.
    #[test]
    fn records_are_those_of_tensorboard() {
        let golden = include_str!("../../../tests/data/tensorboard_reference.txt");
        let scalars = scalars(2.5, 300, &[("loss", 0.25), ("rate", 1e-3)]);
        assert_eq!(hex(&[version(1.5), scalars].concat()), golden.trim());
    }
}

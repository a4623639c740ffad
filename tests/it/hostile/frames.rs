//! Frames that no honest subscriber sends, each with the close code that answers it.

use std::io::Write;
use std::net::TcpStream;

use super::{PATIENCE, handshake, read_head, read_to_end};

/// How many there are.
pub(super) const COUNT: usize = 50;

/// What a subscriber sends behind its handshake.
pub(super) struct Frames {
    pub(super) name: &'static str,
    bytes: Vec<u8>,
    /// The code of the server's close; `None` where it only leaves.
    pub(super) code: Option<u16>,
}

/// A frame as a client sends it, masked by zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A close with a code and a reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}

/// Every case.
pub(super) fn all() -> Vec<Frames> {
    let end = close(1000, b"");
    let behind = |frames: Vec<Vec<u8>>| [frames.concat(), end.clone()].concat();
    let unmasked = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
    let cases: Vec<(&'static str, Vec<u8>, Option<u16>)> = vec![
        ("an unmasked text", unmasked(0x81, b"{}"), Some(1002)),
        ("an unmasked ping", unmasked(0x89, b""), Some(1002)),
        ("an unmasked close", unmasked(0x88, &1000u16.to_be_bytes()), Some(1002)),
        ("the first reserved bit", frame(0xc1, b"{}"), Some(1002)),
        ("the second reserved bit", frame(0xa1, b"{}"), Some(1002)),
        ("the third reserved bit", frame(0x91, b"{}"), Some(1002)),
        ("all reserved bits of a ping", frame(0xf9, b""), Some(1002)),
        ("a reserved kind 3", frame(0x83, b"{}"), Some(1002)),
        ("a reserved kind 7", frame(0x87, b"{}"), Some(1002)),
        ("a reserved control kind 11", frame(0x8b, b""), Some(1002)),
        ("a reserved control kind 15", frame(0x8f, b""), Some(1002)),
        ("a ping in pieces", frame(0x09, b"a"), Some(1002)),
        ("a pong in pieces", frame(0x0a, b"a"), Some(1002)),
        ("a close in pieces", frame(0x08, b""), Some(1002)),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126]), Some(1002)),
        ("a pong of 4 KiB", frame(0x8a, &[b'x'; 4096]), Some(1002)),
        ("a close of 126 bytes", close(1000, &[b'x'; 124]), Some(1002)),
        ("a continuation of nothing", frame(0x80, b"{}"), Some(1002)),
        ("a piece of nothing", frame(0x00, b"{}"), Some(1002)),
        ("a text inside of a text", [frame(0x01, b"{"), frame(0x81, b"{}")].concat(), Some(1002)),
        ("a binary inside of a text", [frame(0x01, b"{"), frame(0x82, b"{}")].concat(), Some(1002)),
        ("a text that is not UTF-8", frame(0x81, b"\xff\xfe"), Some(1007)),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), Some(1007)),
        ("a letter cut in two", frame(0x81, b"\xe2\x82"), Some(1007)),
        (
            "a letter that never ends",
            [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(),
            Some(1007),
        ),
        ("a text of 5,000 bytes", frame(0x81, &[b'x'; 5_000]), Some(1009)),
        (
            "pieces of 5,000 bytes together",
            [frame(0x01, &[b'x'; 2_500]), frame(0x80, &[b'x'; 2_500])].concat(),
            Some(1009),
        ),
        (
            "a length beyond all memory",
            vec![0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
            Some(1009),
        ),
        (
            "a length with its highest bit",
            vec![0x82, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
            Some(1009),
        ),
        ("a close of one byte", frame(0x88, &[3]), Some(1002)),
        ("a close that gives code 0", close(0, b""), Some(1002)),
        ("a close that gives code 999", close(999, b""), Some(1002)),
        ("a close that gives code 1005", close(1005, b""), Some(1002)),
        ("a close that gives code 1006", close(1006, b""), Some(1002)),
        ("a close that gives code 65535", close(65_535, b""), Some(1002)),
        ("a close whose reason is not UTF-8", close(1000, b"\xff"), Some(1007)),
        ("a close that gives nothing", frame(0x88, b""), None),
        ("a close that ends well", end.clone(), Some(1000)),
        ("noise", (1..=255).rev().collect(), Some(1002)),
        ("zeros", vec![0; 64], Some(1002)),
        ("a request instead of frames", b"GET /livez HTTP/1.1\r\n\r\n".to_vec(), Some(1002)),
        ("half a frame", vec![0x81], None),
        ("half a mask", vec![0x81, 0x82, 0, 0], None),
        ("less than it says", frame(0x81, b"{}")[..7].to_vec(), None),
        ("nothing", Vec::new(), None),
        ("a thousand texts", behind(vec![frame(0x81, b"{}"); 1_000]), Some(1000)),
        ("a thousand pongs", behind(vec![frame(0x8a, b"x"); 1_000]), Some(1000)),
        ("a thousand pings", behind(vec![frame(0x89, &[b'x'; 125]); 1_000]), Some(1000)),
        (
            "a thousand empty pieces",
            behind(
                [vec![frame(0x01, b"")], vec![frame(0x00, b""); 1_000], vec![frame(0x80, b"")]]
                    .concat(),
            ),
            Some(1000),
        ),
        ("frames behind a close", [end.clone(), frame(0x81, b"{}")].concat(), Some(1000)),
    ];
    cases.into_iter().map(|(name, bytes, code)| Frames { name, bytes, code }).collect()
}

/// Subscribes, sends the frames and nothing else, and returns the code of the server's close.
pub(super) fn close_code(address: &str, case: &Frames) -> Option<u16> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(handshake(address).as_bytes()).unwrap();
    // The server may have had enough before all of it is sent.
    let _ = socket.write_all(&case.bytes);
    let head = read_head(&mut socket);
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let answer = read_to_end(&mut socket);
    let mut rest = &answer[..];
    // A server's frames are not masked.
    while let [first, length, ..] = rest {
        let (begin, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            127 => panic!("no frame of ours is so long"),
            short => (2, usize::from(*short)),
        };
        let payload = rest.get(begin..begin + length)?;
        if *first == 0x88 {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        rest = &rest[begin + length..];
    }
    None
}

//! The soak at a size that takes a moment: bursts that drop, and every tick accounted for. Times
//! and memory are judged by the long run alone.

use std::process::{Command, Stdio};

use crate::support::{onnxruntime, repository};

#[test]
fn bursts_drop_what_is_counted_and_mark_what_is_lost() {
    let output = Command::new("python3")
        .arg("benches/soak.py")
        .current_dir(repository())
        .env("TICKCAST", env!("CARGO_BIN_EXE_tickcast"))
        .env("ORT_DYLIB_PATH", onnxruntime())
        .env("SOAK_SECONDS", "6")
        .env("SOAK_QUEUE", "2000")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{report}");
    for promise in [
        "the queue is never above its limit",
        "every tick is accounted for",
        "drops in bursts alone, and all counted",
        "every loss is marked",
    ] {
        assert!(text.contains(&format!("\nkept: {promise}: ")), "{promise}: {report}");
    }
    // The sums once more, from the text: "S sent, R received = T ticks + D dropped + W waiting".
    let line = text.lines().find(|line| line.starts_with("kept: every tick")).unwrap();
    let number = |word: &str| -> u64 {
        let before = &line[..line.find(word).unwrap_or_else(|| panic!("{word}: {line}"))];
        before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
    };
    let [sent, received, ticks, dropped, waiting] =
        [" sent", " received", " ticks", " dropped", " waiting"].map(number);
    assert_eq!(sent, received);
    assert_eq!(received, ticks + dropped + waiting);
    assert!(dropped > 0, "{line}");
}

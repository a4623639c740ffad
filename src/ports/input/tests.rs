//! Tests of the count of what was delivered.

use super::*;

#[test]
fn clones_share_how_far_the_input_was_delivered() {
    let recording = RecordingIdentity { length: 9, head: b"head".to_vec() };
    let progress = InputProgress::new(InputIdentity::Recording(recording.clone()));
    let reader = progress.clone();
    assert_eq!(reader.reached(), (0, 0));
    progress.delivered(3, 70);
    assert_eq!(reader.reached(), (3, 70));
    assert_eq!(reader.identity(), &InputIdentity::Recording(recording));
    let other = InputProgress::new(InputIdentity::Feed([1; 32]));
    assert_eq!(other.reached(), (0, 0), "another input has a count of its own");
}

#[test]
fn a_start_is_from_the_beginning_unless_something_was_restored() {
    assert_eq!(Start::default(), Start { records: 0, resumed: false });
}

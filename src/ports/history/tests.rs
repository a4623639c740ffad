//! The desk has room for as many questions as it says, and never waits.

use super::*;

#[test]
fn a_desk_that_is_full_or_gone_takes_no_question() {
    let request = Request {
        symbol: Symbol::new("A").unwrap(),
        kind: RowKind::Trades,
        are_parts: false,
        want: Want::Newest { before: None, rows: 3 },
    };
    let ask = |number| Ask {
        shard: 0,
        number,
        request: request.clone(),
        is_hole: false,
        until: Duration::ZERO,
    };
    let (desk, mut asked) = Desk::new(1);
    assert_eq!(desk.ask(ask(1)), Ok(()));
    assert_eq!(desk.ask(ask(2)), Err(DeskFull));
    assert_eq!(asked.try_recv(), Ok(ask(1)));
    assert_eq!(desk.ask(ask(3)), Ok(()));
    drop(asked);
    assert_eq!(desk.ask(ask(4)), Err(DeskFull));
}

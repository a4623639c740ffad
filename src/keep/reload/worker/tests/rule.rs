//! Tests of promotions by the rule: only what every shard agrees on, while all states are there.

use std::sync::atomic::AtomicBool;

use super::promotions::*;
use super::*;
use crate::core::domain::UnixNanos;
use crate::core::verdict::{LEVEL, Ledger, LedgerRule, Pool, Word};
use crate::engine::pipeline::RivalPool;
use crate::shard::RivalBoard;

/// One symbol whose differences have this mean.
fn pool(mean: f64) -> Pool {
    let (rule, mut ledger, mut pool) = (LedgerRule::new(1, LEVEL), Ledger::new(), Pool::default());
    for at in 0..900 {
        let wave = 0.1 * f64::from(at / 30 % 5 - 2);
        ledger.take(&rule, mean + wave, UnixNanos::from_nanos(i64::from(at)));
    }
    pool.add(&ledger);
    pool
}

fn better() -> Pool {
    let pool = pool(0.5);
    assert_eq!(pool.word(LEVEL), Word::Better);
    pool
}

/// A live model and a shadow that may get its seat by the rule, with what is laid down of it.
struct Trial {
    work: ReloadWork,
    running: watch::Receiver<Models>,
    registry: Registry,
    shards: Vec<IntakeReceiver<Command>>,
    /// Without a source the queues are closed.
    sources: Vec<IntakeSender<Command>>,
    is_settled: Arc<AtomicBool>,
    state: TempDir,
    _folder: Folder,
}

impl Trial {
    fn new(laid: RivalPool, shards: usize) -> Self {
        let (folder, state) = (Folder::new(), tempfile::tempdir().unwrap());
        folder.seal(version("2", another()));
        let pipelines = ["1", "2"].map(|version| pipeline(&folder.bundle(version)));
        let listed = vec![
            listed(&pipelines[0], "now", Role::Live),
            listed(&pipelines[1], "next", Role::Shadow),
        ];
        let (sources, shards): (Vec<_>, Vec<_>) = (0..shards).map(|_| queue(9)).unzip();
        let commanders = sources.iter().map(IntakeSender::commander).collect();
        let disk = crate::keep::snapshot::Folder::open(state.path()).unwrap();
        let mut configured = configured();
        configured.0[1].by_rule = true;
        let roles = RoleStore::new(Some(Box::new(disk)), configured);
        let prover = Arc::new(InProcess(Arc::new(NullRuntime)));
        let (mut reloader, running, registry) =
            reloader_of(&folder, commanders, roles, ["1", "2"], prover, listed);
        let is_settled = Arc::new(AtomicBool::new(true));
        let board = RivalBoard::laid(&[RivalPool::default(), laid]);
        let settled = Arc::clone(&is_settled);
        reloader.rule = PromotionRule::new(board, move || settled.load(Ordering::SeqCst));
        let work = reloader.work();
        Self { work, running, registry, shards, sources, is_settled, state, _folder: folder }
    }

    /// Lets the rule promote what is promising, while shards say this of it; returns what became of
    /// it.
    fn promote(&mut self, said: &[RivalPool]) -> Option<Outcome> {
        let Self { work, shards, .. } = self;
        let mut answer = || {
            for (shard, said) in shards.iter().zip(said) {
                if !shard.has_more() {
                    continue;
                }
                match taken(shard) {
                    Command::Rivals { model: 1, answer } => answer.send(*said).unwrap(),
                    Command::Promote { model: 1, answer } => answer.send(()).unwrap(),
                    _ => panic!("another command"),
                }
            }
        };
        work.promote_by_rule_once(1, &mut Meanwhile::Run(&mut answer))
    }

    fn promotions(&self) -> (u64, u64) {
        let page = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather());
        let page = page.unwrap();
        let count = |by: &str| {
            let name = format!("tickcast_promotions_total{{by=\"{by}\",model=\"next\"}} ");
            page.lines().find_map(|line| line.strip_prefix(&*name)).unwrap().parse().unwrap()
        };
        (count("rule"), count("request"))
    }
}

fn roles(running: &watch::Receiver<Models>) -> Vec<Role> {
    running.borrow().0.iter().map(|model| model.role).collect()
}

#[test]
fn a_shadow_that_is_better_in_every_shard_is_promoted_once() {
    let laid = RivalPool { rival: Some(0), pool: better() };
    let mut trial = Trial::new(laid, 2);
    assert_eq!(trial.work.promising(), [1]);
    let undecided = RivalPool { rival: Some(0), pool: pool(0.0) };
    let outcome = trial.promote(&[laid, undecided]).unwrap();
    assert!(matches!(outcome, Outcome::Promoted { .. }), "{outcome:?}");
    assert_eq!(roles(&trial.running), [Role::Shadow, Role::Live]);
    assert_eq!(trial.promotions(), (1, 0));
    let found = configured().look(trial.state.path()).unwrap();
    assert_eq!(found, given("next"), "it outlives a restart");
    // What is laid down is about the model that was live before.
    assert_eq!(trial.work.promising(), [0; 0]);
    // The model before may come back by the rule, with evidence of its own.
    let rivalries: Vec<_> =
        trial.running.borrow().0.iter().map(|model| model.rivalry.by_rule).collect();
    assert_eq!(rivalries, [true, true]);
}

#[test]
fn what_is_laid_down_is_not_enough() {
    let laid = RivalPool { rival: Some(0), pool: better() };
    let worse = RivalPool { rival: Some(0), pool: pool(-0.5) };
    let of_another = RivalPool { rival: Some(1), ..laid };
    for said in [[laid, worse], [laid, of_another], [RivalPool::default(); 2], [of_another; 2]] {
        let mut trial = Trial::new(laid, 2);
        assert_eq!(trial.promote(&said), None, "{said:?}");
        assert_eq!(roles(&trial.running), [Role::Live, Role::Shadow]);
        assert_eq!((trial.promotions(), trial.work.promising()), ((0, 0), vec![1]), "no pause");
    }
}

#[test]
fn nothing_is_promising_without_a_verdict_of_all_symbols() {
    let laid = |mean| RivalPool { rival: Some(0), pool: pool(mean) };
    for laid in [laid(0.0), laid(-0.5), RivalPool { rival: None, ..laid(0.5) }] {
        assert_eq!(Trial::new(laid, 1).work.promising(), [0; 0], "{laid:?}");
    }
    // States are still restored: the symbols that are there may be the better part of all.
    let mut trial = Trial::new(laid(0.5), 1);
    trial.is_settled.store(false, Ordering::SeqCst);
    assert_eq!(trial.work.promising(), [0; 0]);
    assert_eq!(trial.promote(&[laid(0.5)]), None, "a rebalance has begun meanwhile");
    assert_eq!(trial.promotions(), (0, 0));
}

#[test]
fn a_promotion_that_fails_leaves_the_model_alone_for_a_while() {
    let laid = RivalPool { rival: Some(0), pool: better() };
    let mut trial = Trial::new(laid, 1);
    // A folder where the draft should be.
    std::fs::create_dir(trial.state.path().join("roles.draft")).unwrap();
    let outcome = trial.promote(&[laid]).unwrap();
    assert!(reason(outcome).starts_with("the roles could not be kept for a restart: "));
    assert_eq!(roles(&trial.running), [Role::Live, Role::Shadow]);
    assert_eq!((trial.work.promising(), trial.promotions()), (vec![], (0, 0)));
    // A shard that has ended says nothing.
    let mut trial = Trial::new(laid, 1);
    trial.shards.clear();
    assert_eq!(reason(trial.promote(&[]).unwrap()), "the daemon is ending");
}

#[test]
fn the_thread_looks_for_it_by_itself() {
    let laid = RivalPool { rival: Some(0), pool: better() };
    let Trial { work, mut running, shards, state, sources, .. } = Trial::new(laid, 1);
    let thread = work.reloader.start().unwrap();
    let Command::Rivals { model: 1, answer } = taken(&shards[0]) else { panic!("a question") };
    answer.send(laid).unwrap();
    answer_promotion(&shards[0], 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_promoted = |models: &Models| models.0[1].role == Role::Live;
    runtime.block_on(running.wait_for(is_promoted)).unwrap();
    assert_eq!(configured().look(state.path()).unwrap(), given("next"));
    thread.stop();
    drop(sources);
}

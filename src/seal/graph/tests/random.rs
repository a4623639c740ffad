//! Random small networks: whatever the layout, the sizes that are fixed and the way in which states
//! are kept, the rewritten graph has the bits of the original, whole and step by step.

use proptest::prelude::*;

use super::super::{Hints, Layout, Wanted};
use super::net::{Net, Size};
use super::sealed_with;
use crate::engine::model::manifest::Mode;

/// How a network begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// Without first states.
    Nothing,
    /// With zeros made for the batch.
    Zeros,
    /// With states that it takes and gives, stacked.
    Stacked,
}

#[derive(Clone, Debug)]
struct Shape {
    layout: Layout,
    layers: Vec<(bool, usize)>,
    features: usize,
    window: usize,
    columns: usize,
    is_window_fixed: bool,
    is_batch_fixed: bool,
    begin: Begin,
    head: usize,
    has_function: bool,
    seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let layout =
        prop_oneof![Just(Layout::BatchFirst), Just(Layout::TimeMajor), Just(Layout::Flattened)];
    let begin = prop_oneof![Just(Begin::Nothing), Just(Begin::Zeros), Just(Begin::Stacked)];
    let layers = prop::collection::vec((any::<bool>(), 1_usize..5), 1..4);
    let sizes = (1_usize..4, 2_usize..7, 1_usize..4);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (layout, layers, sizes, flags, begin, 0_usize..4, any::<u64>()).prop_map(
        |(layout, layers, (features, window, columns), flags, begin, head, seed)| Shape {
            layout,
            layers,
            features,
            window,
            columns,
            is_window_fixed: flags.0 || layout == Layout::Flattened,
            is_batch_fixed: flags.1 && begin != Begin::Stacked,
            begin,
            head,
            has_function: flags.2,
            seed,
        },
    )
}

impl Shape {
    fn net(&self) -> Net {
        let mut net = Net::seeded(self.seed);
        let batch: Size = self.is_batch_fixed.then_some(1);
        let window = self.is_window_fixed.then_some(self.window);
        let features = Some(self.features);
        let rows = match self.layout {
            Layout::TimeMajor => net.input("x", &[window, batch, features]),
            Layout::Flattened => {
                let x = net.input("x", &[batch, Some(self.window * self.features)]);
                let sizes = [self.window, self.features].map(|size| size as i64);
                let shape =
                    net.ints(&[if self.is_batch_fixed { 1 } else { -1 }, sizes[0], sizes[1]]);
                let x = net.add("Reshape", &[&x, &shape]);
                net.transpose(&x, &[1, 0, 2])
            }
            _ => {
                let x = net.input("x", &[batch, window, features]);
                net.transpose(&x, &[1, 0, 2])
            }
        };
        self.layers(&mut net, rows)
    }

    fn layers(&self, net: &mut Net, mut rows: String) -> Net {
        // Stacked states are of one width and one kind.
        let of_layer = |at: usize| {
            if self.begin == Begin::Stacked { self.layers[0] } else { self.layers[at] }
        };
        let count = self.layers.len();
        let stack: Vec<String> = if self.begin == Begin::Stacked {
            let (is_lstm, units) = self.layers[0];
            let names = if is_lstm { &["h", "c"][..] } else { &["h"] };
            names.iter().map(|name| net.input(name, &[Some(count), None, Some(units)])).collect()
        } else {
            Vec::new()
        };
        let mut inputs = self.features;
        let mut given: Vec<Vec<String>> = vec![Vec::new(); 2];
        let mut last_states = Vec::new();
        for at in 0..count {
            let (is_lstm, units) = of_layer(at);
            let kinds = if is_lstm { 2 } else { 1 };
            let initial: Vec<String> = match self.begin {
                Begin::Nothing => Vec::new(),
                Begin::Zeros => {
                    let zeros = net.zeros(&rows.clone(), 1, 1, units);
                    vec![zeros; kinds]
                }
                Begin::Stacked => {
                    let at = at as i64;
                    stack.iter().map(|name| net.slice(name, at, at + 1, 0)).collect()
                }
            };
            let initial: Vec<&str> = initial.iter().map(String::as_str).collect();
            let operator = if is_lstm { "LSTM" } else { "GRU" };
            let (steps, states) = net.recurrent(operator, &rows, [inputs, units], &initial);
            for (kind, state) in states.iter().enumerate() {
                given[kind].push(state.clone());
            }
            last_states = states;
            rows = if self.has_function { net.add("Tanh", &[&steps]) } else { steps };
            inputs = units;
        }
        let value = match self.head {
            0 => net.gather(&rows, -1, 0),
            1 => {
                let turned = net.transpose(&rows, &[1, 0, 2]);
                let last = net.slice(&turned, -1, i64::MAX, 1);
                net.squeeze(&last, 1)
            }
            2 => net.squeeze(&last_states[0], 0),
            _ => {
                let last = net.slice(&rows, -1, i64::from(i32::MAX), 0);
                net.squeeze(&last, 0)
            }
        };
        let y = net.dense(&value, [inputs, self.columns]);
        let batch: Size = self.is_batch_fixed.then_some(1);
        net.output(&y, &[batch, Some(self.columns)]);
        for states in
            given.iter().filter(|states| self.begin == Begin::Stacked && !states.is_empty())
        {
            let parts: Vec<&str> = states.iter().map(String::as_str).collect();
            let joined = net.add_with("Concat", &parts, |node| node.with_int("axis", 0));
            net.output(&joined, &[Some(count), None, Some(inputs)]);
        }
        std::mem::replace(net, Net::new())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_rewritten_network_has_the_bits_of_the_original(shape in shapes()) {
        let net = shape.net();
        let wanted = Wanted {
            window: shape.window,
            features: shape.features,
            expose_states: true,
            ..Wanted::default()
        };
        let (foreign, rewritten) = sealed_with(&net.bytes(), &Hints::default(), &wanted);
        prop_assert_eq!(foreign.facts.input.layout, shape.layout);
        prop_assert_eq!(foreign.facts.output.columns, shape.columns);
        prop_assert_eq!(rewritten.columns, shape.columns);
        prop_assert!(!rewritten.is_alone, "{:?}", rewritten.notes);
        // A window that is taken apart by a fixed shape stays one of whole windows.
        if shape.layout != Layout::Flattened {
            let modes = [Mode::Full, Mode::Sliding];
            prop_assert_eq!(&rewritten.modes, &modes, "{:?}", rewritten.notes);
        }
    }
}
